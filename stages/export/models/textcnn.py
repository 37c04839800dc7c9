# architectures: textcnn
import torch
from torch import nn


class TextCnn(nn.Module):
    """Embeddings, convolutions of several widths over time with ReLU and maximum, fc (Kim 2014). A
    text lies between endless zero vectors, so what else is in the batch changes nothing."""

    def __init__(self, buckets, dim, filters, widths, classes, dropout):
        super().__init__()
        self.embedding = nn.Embedding(buckets, dim)
        self.widths = widths
        for width in widths:
            self.add_module(f"conv{width}", nn.Conv2d(1, filters, (width, dim)))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(filters * len(widths), classes)

    def forward(self, ids):
        rows = nn.utils.rnn.pad_sequence([self.embedding(row) for row in ids], batch_first=True)
        x = nn.functional.pad(rows, (0, 0, max(self.widths), max(self.widths))).unsqueeze(1)
        best = [getattr(self, f"conv{width}")(x).squeeze(3).amax(2).relu() for width in self.widths]
        return self.fc(self.dropout(torch.cat(best, 1)))


def build(options, input, classes):
    return TextCnn(description["text"]["buckets"], int(options["dim"]), int(options["filters"]),
                   [int(width) for width in options["widths"].split(",")], classes,
                   float(options["dropout"]))
