# architectures: convnet
from torch import nn


class Convnet(nn.Module):
    """Stages of 3x3 convolution + BatchNorm + ReLU, the mean over pixels, dropout, fc."""

    def __init__(self, inputs, channels, strides, classes, dropout):
        super().__init__()
        self.stages = len(channels)
        for number, (outputs, stride) in enumerate(zip(channels, strides), 1):
            self.add_module(f"conv{number}", nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False))
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        for number in range(1, self.stages + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)).relu()
        return self.fc(self.dropout(x.mean((2, 3))))


def build(options, input, classes):
    channels, strides = ([int(word) for word in options[name].split(",")]
                         for name in ("channels", "strides"))
    return Convnet(input["channels"], channels, strides, classes, float(options["dropout"]))
