# architectures: deit_tiny deit_small
import torch
from torch import nn


class PatchEmbedding(nn.Module):
    def __init__(self, inputs, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(n, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth: in training a sample skips the branch at this rate."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class Block(nn.Module):
    def __init__(self, width, heads, drop_path):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Deit(nn.Module):
    """Vision transformer with a class token and timm's names (Touvron et al. 2021)."""

    def __init__(self, input, patch, width, depth, heads, classes, dropout, drop_path):
        super().__init__()
        tokens = (input["height"] // patch) * (input["width"] // patch)
        self.patch_embed = PatchEmbedding(input["channels"], patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, width))
        self.blocks = nn.Sequential(*(Block(width, heads, drop_path * i / max(1, depth - 1))
                                      for i in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        return self.head(self.dropout(self.norm(self.blocks(x)[:, 0])))


def build(options, input, classes):
    patch, width, depth, heads = (int(options[name]) for name in ("patch", "width", "depth", "heads"))
    return Deit(input, patch, width, depth, heads, classes, float(options["dropout"]),
                float(options["drop-path"]))
