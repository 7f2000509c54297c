import shutil
from types import SimpleNamespace

import pytest

import images


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """A single image for this machine: busybox, and a layer of generated files."""
    layout = images.Layout(tmp_path_factory.mktemp("image") / "layout")
    descriptor, contents = layout.image([images.busybox(), images.generated(1), {"srv/note": b"last layer\n"}])
    layout.tag(descriptor, "latest")
    return SimpleNamespace(layout=layout, digest=descriptor["digest"], contents=contents)


@pytest.fixture(scope="session")
def multi(tmp_path_factory):
    """An index of two architectures that share their first layer."""
    layout = images.Layout(tmp_path_factory.mktemp("multi") / "layout")
    built = {arch: layout.image([images.busybox(), images.generated(seed)], arch) for seed, arch in ((2, "amd64"), (3, "arm64"))}
    index = layout.index([(descriptor, arch) for arch, (descriptor, _) in built.items()])
    layout.tag(index, "latest")
    return SimpleNamespace(layout=layout, digest=index["digest"], images=built)


@pytest.fixture(scope="session")
def big(tmp_path_factory):
    """An image with one layer over 1 GiB that does not compress and is not compressed."""
    directory = tmp_path_factory.mktemp("big")
    layout = images.Layout(directory / "layout")
    descriptor, contents = layout.image([images.busybox(), {"srv/big": images.Random(images.BIG, seed=7)}], compress=False)
    layout.tag(descriptor, "latest")
    yield SimpleNamespace(layout=layout, digest=descriptor["digest"], contents=contents)
    shutil.rmtree(directory)
