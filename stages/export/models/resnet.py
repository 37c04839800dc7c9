# architectures: resnet18 resnet50
from torch import nn


class Block(nn.Module):
    """Basic block, or bottleneck with the stride in its 3x3 convolution, as torchvision has them."""

    def __init__(self, inputs, width, stride, bottleneck):
        super().__init__()
        forms = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)] if bottleneck else [
            (width, 3, stride), (width, 3, 1)]
        before = inputs
        for number, (outputs, kernel, step) in enumerate(forms, 1):
            conv = nn.Conv2d(before, outputs, kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(outputs))
            before = outputs
        self.layers, self.outputs, self.downsample = len(forms), before, None
        if stride != 1 or inputs != before:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, before, 1, stride, bias=False),
                                            nn.BatchNorm2d(before))

    def forward(self, x):
        y = x
        for number in range(1, self.layers + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y.relu() if number < self.layers else y
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class Resnet(nn.Module):
    """ImageNet form (He et al. 2015, table 1), with torchvision's names; a small stem is one 3x3
    convolution of stride 1 without pooling."""

    def __init__(self, blocks, bottleneck, small, inputs, width, classes, dropout):
        super().__init__()
        self.conv1 = (nn.Conv2d(inputs, width, 3, 1, 1, bias=False) if small else
                      nn.Conv2d(inputs, width, 7, 2, 3, bias=False))
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        inputs = width
        for group, count in enumerate(blocks):
            layers = []
            for i in range(count):
                layers.append(Block(inputs, width << group, 2 if group > 0 and i == 0 else 1, bottleneck))
                inputs = layers[-1].outputs
            self.add_module(f"layer{group + 1}", nn.Sequential(*layers))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.dropout(x.mean((2, 3))))


def build(options, input, classes):
    blocks, bottleneck = {"resnet18": ([2, 2, 2, 2], False),
                          "resnet50": ([3, 4, 6, 3], True)}[description["name"]]
    return Resnet(blocks, bottleneck, options["stem"] == "small", input["channels"],
                  int(options["width"]), classes, float(options["dropout"]))
