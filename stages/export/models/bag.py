# architectures: bag
import torch
from torch import nn


class Bag(nn.Module):
    """The mean of the embeddings of a text's ids, [a hidden layer + ReLU], fc (fastText's form)."""

    def __init__(self, buckets, dim, hidden, classes, dropout):
        super().__init__()
        self.embedding = nn.EmbeddingBag(buckets, dim, mode="mean")
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(dim, hidden) if hidden else None
        self.fc = nn.Linear(hidden or dim, classes)

    def forward(self, ids):
        begin = torch.tensor([0] + [len(row) for row in ids[:-1]]).cumsum(0)
        x = self.dropout(self.embedding(torch.cat(ids), begin.to(ids[0].device)))
        if self.hidden is not None:
            x = self.dropout(self.hidden(x).relu())
        return self.fc(x)


def build(options, input, classes):
    return Bag(description["text"]["buckets"], int(options["dim"]), int(options["hidden"]), classes,
               float(options["dropout"]))
