# The end of every model.py: the tensors go into the network.
import json
import pathlib

import torch
from safetensors.torch import load_file
from torch import nn

HERE = pathlib.Path(__file__).resolve().parent
description = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
labels = description["class_names"]  # labels[i] is the name of output i


class Cosine(nn.Module):
    """Logits: the cosine between an embedding and each class's weights, times `scale`."""

    def __init__(self, inputs, classes, scale):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, inputs))
        self.scale = scale

    def forward(self, x):
        unit = nn.functional.normalize
        return self.scale * nn.functional.linear(unit(x), unit(self.weight))


def load(folder=HERE):
    """The classifier as a torch.nn.Module in evaluation mode, with `folder`'s tensors: every one of
    the network, and no other. It maps what preprocess() gives to logits [n, len(labels)]."""
    options = description["options"]
    net = build(options, description["input"], len(labels))
    if options.get("logit-form") == "cosine":
        name = "head" if hasattr(net, "head") else "fc"
        linear = getattr(net, name)
        setattr(net, name, Cosine(linear.in_features, len(labels), float(options["logit-scale"])))
    net.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"), strict=True)
    return net.eval()
