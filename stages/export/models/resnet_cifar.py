# architectures: resnet20 resnet56
from torch import nn


class Block(nn.Module):
    """Basic block; where the shape changes, the shortcut is a 1x1 convolution, or every second pixel
    and zero channels (He et al. 2015, section 4.2, options B and A)."""

    def __init__(self, inputs, outputs, stride, projection):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs
        self.downsample = None
        if projection and (stride != 1 or self.more != 0):
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def shortcut(self, x):
        if self.downsample is not None:
            return self.downsample(x)
        before = self.more // 2
        return nn.functional.pad(x[:, :, ::self.stride, ::self.stride],
                                 (0, 0, 0, 0, before, self.more - before))

    def forward(self, x):
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


class ResnetCifar(nn.Module):
    """3x3 convolution, three groups of basic blocks, the mean over pixels, fc."""

    def __init__(self, blocks, inputs, width, projection, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for group in range(3):
            layers = []
            for i in range(blocks):
                layers.append(Block(inputs, width << group, 2 if group > 0 and i == 0 else 1, projection))
                inputs = width << group
            self.add_module(f"layer{group + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def build(options, input, classes):
    return ResnetCifar({"resnet20": 3, "resnet56": 9}[description["name"]], input["channels"],
                       int(options["width"]), options["shortcut"] == "projection", classes)
