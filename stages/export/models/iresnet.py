# architectures: iresnet18 iresnet34 iresnet50
from torch import nn


class Block(nn.Module):
    """BN, convolution, BN, PReLU, convolution, BN (Deng et al. 2019, section 3.1)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                            nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))


class Iresnet(nn.Module):
    """InsightFace's backbone with its names, whose output embed() gives, and a head on it."""

    def __init__(self, blocks, input, width, embedding, classes, dropout):
        super().__init__()
        self.conv1 = nn.Conv2d(input["channels"], width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        inputs, height, breadth = width, input["height"], input["width"]
        for group, count in enumerate(blocks):
            layers = []
            for i in range(count):
                layers.append(Block(inputs, width << group, 2 if i == 0 else 1))
                inputs = width << group
            height, breadth = (height + 1) // 2, (breadth + 1) // 2
            self.add_module(f"layer{group + 1}", nn.Sequential(*layers))
        self.bn2 = nn.BatchNorm2d(inputs)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(inputs * height * breadth, embedding)
        self.features = nn.BatchNorm1d(embedding)
        self.features.weight.requires_grad = False  # the scale is fixed
        self.head = nn.Linear(embedding, classes, bias=False)

    def embed(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.bn2(self.layer4(self.layer3(self.layer2(self.layer1(x)))))
        return self.features(self.fc(self.dropout(x.flatten(1))))

    def forward(self, x):
        return self.head(self.embed(x))


def build(options, input, classes):
    blocks = {"iresnet18": [2, 2, 2, 2], "iresnet34": [3, 4, 6, 3],
              "iresnet50": [3, 4, 14, 3]}[description["name"]]
    return Iresnet(blocks, input, int(options["width"]), int(options["embedding"]), classes,
                   float(options["dropout"]))
