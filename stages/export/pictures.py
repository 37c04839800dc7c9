# How pictures become what the network takes (docs/model_format.md, "scale").
import torch


def preprocess(pictures):
    """n pictures of 8-bit values [height, width, channels] (or [height, width]) in the network's
    size, an array [n, ...] or a list of arrays -> fp32 [n, channels, height, width]."""
    size = [description["input"][side] for side in ("height", "width", "channels")]
    rows = [torch.as_tensor(picture) for picture in pictures]
    for row in rows:
        shape = list(row.shape) + [1] * (row.dim() == 2)
        if row.dtype != torch.uint8 or shape != size:
            raise ValueError(f"{list(row.shape)} {row.dtype}: pictures must be uint8 {size}")
    pixels = torch.stack([row.reshape(size) for row in rows]).permute(0, 3, 1, 2)
    mean, deviation = (
        torch.tensor(description["scale"][key], dtype=torch.float64).expand(size[2]).reshape(-1, 1, 1)
        for key in ("mean", "deviation"))
    # x = v * factor + offset in fp32 with two roundings, the same as Retort's own.
    factor = (1 / (255 * deviation)).float()
    offset = (-mean / deviation).float()
    return (pixels.float() * factor + offset).contiguous()
