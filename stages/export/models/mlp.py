# architectures: mlp
from torch import nn


class Mlp(nn.Module):
    """Hidden layers of linear [+ BatchNorm] + ReLU + dropout on all pixels, then fc."""

    def __init__(self, inputs, hidden, classes, batch_norm, dropout):
        super().__init__()
        self.hidden = nn.ModuleList()
        for width in hidden:
            layer = nn.ModuleDict({"linear": nn.Linear(inputs, width, bias=not batch_norm)})
            if batch_norm:
                layer["bn"] = nn.BatchNorm1d(width)
            self.hidden.append(layer)
            inputs = width
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = x.flatten(1)
        for layer in self.hidden:
            x = layer["linear"](x)
            if "bn" in layer:
                x = layer["bn"](x)
            x = self.dropout(x.relu())
        return self.fc(x)


def build(options, input, classes):
    return Mlp(input["height"] * input["width"] * input["channels"],
               [int(width) for width in options["hidden"].split(",") if width], classes,
               options["batch-norm"] == "true", float(options["dropout"]))
