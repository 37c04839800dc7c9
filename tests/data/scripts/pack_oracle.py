"""An independent reading of pictures and packed datasets: numpy, PIL, h5py, hashlib, no Retort."""
import gzip
import os
import struct
import sys

import numpy as np
from PIL import Image

import packed_reader

root = sys.argv[1]


def packed(name, split):
    return packed_reader.packed(f"{root}/packed/{name}", split)


def idx(path):
    data = gzip.open(path).read()
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


for split, prefix in (("train", "train"), ("test", "t10k")):
    images = idx(f"{root}/mnist/mnist/{prefix}-images-idx3-ubyte.gz")
    labels = idx(f"{root}/mnist/mnist/{prefix}-labels-idx1-ubyte.gz")
    samples, names = packed("mnist", split)
    assert names == [str(i) for i in range(10)]
    assert len(samples) == len(images)
    for (payload, gold), image, label in zip(samples, images, labels):
        assert payload == image.tobytes() and gold == [label]
    print("mnist", split, len(samples))


def pictures(folder):
    found = []
    for path, _, files in os.walk(folder):
        for file in files:
            if file.endswith((".jpg", ".png", ".pgm")):
                found.append(os.path.relpath(os.path.join(path, file), folder))
    return found


def check_folder(name, split, folder, mode, class_of):
    samples, names = packed(name, split)
    files = sorted(pictures(folder), key=lambda f: (class_of(f).encode(), f.encode()))
    assert len(samples) == len(files), (len(samples), len(files))
    for (payload, gold), file in zip(samples, files):
        assert names[gold[0]] == class_of(file), file
        # The decoder is the same library's, so even JPEG is equal to the last bit.
        assert payload == np.asarray(Image.open(f"{folder}/{file}").convert(mode)).tobytes(), file
    print(name, split, len(samples))


check_folder("orl", "train", f"{root}/orl-faces/orl-faces/orl_faces", "L", os.path.dirname)
check_folder("omniglot", "train", f"{root}/omniglot/omniglot/images_background", "L", os.path.dirname)
for split in ("train", "test"):
    check_folder("cifar", split, f"{root}/cifar10-jpg/cifar10-jpg/{split}", "RGB", os.path.dirname)

# CFP: 500 people of 14 pictures, 2 + 2 held out; the bytes of every file exactly once.
faces = f"{root}/cfp/cfp/Data/Images"
left = {}
for file in pictures(faces):
    left.setdefault(open(f"{faces}/{file}", "rb").read(), []).append(file.split("/")[1])
for split, each in (("train", 10), ("validation", 2), ("test", 2)):
    samples, names = packed("cfp", split)
    counts = np.bincount([gold[0] for _, gold in samples], minlength=500)
    assert len(names) == 500 and (counts == each).all(), (split, counts)
    for payload, gold in samples:
        left[payload].remove(names[gold[0]])
    print("cfp", split, len(samples))
assert not any(left.values())
