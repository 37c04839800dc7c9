# The end of every model.py: the tensors go into the network.
import json
import pathlib

from safetensors.torch import load_file

HERE = pathlib.Path(__file__).resolve().parent
description = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
labels = description["class_names"]  # labels[i] is the name of output i


def load(folder=HERE):
    """The classifier as a torch.nn.Module in evaluation mode, with `folder`'s tensors: every one of
    the network, and no other. It maps what preprocess() gives to logits [n, len(labels)]."""
    net = build(description["options"], description["input"], len(labels))
    net.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"), strict=True)
    return net.eval()
