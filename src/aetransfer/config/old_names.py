"""What configs said that earlier versions wrote, or that somebody wrote for them."""

from typing import Any

# Each leads straight to today's name. Of the names that one thing has had, its first stands first.
OLD_NAMES = {
    "aetransfer.data.embedded.read_digits": "aetransfer.data.readers.embedded.read_digits",
    "aetransfer.data.embedded.read_photo_digits": "aetransfer.data.readers.embedded.read_photo_digits",
    "aetransfer.data.idx.read_mnist": "aetransfer.data.readers.idx.read_mnist",
    "aetransfer.data.idx.read_fashion_mnist": "aetransfer.data.readers.idx.read_fashion_mnist",
    "aetransfer.data.cifar.read_cifar10": "aetransfer.data.readers.cifar.read_cifar10",
    "aetransfer.data.cifar.read_cifar100": "aetransfer.data.readers.cifar.read_cifar100",
    "aetransfer.data.folder.read_folder": "aetransfer.data.readers.folder.read_folder",
}


CROP, FLIP = "aetransfer.data.augmentation.Crop", "aetransfer.data.augmentation.Flip"


def todays(target: str) -> str:
    """Return what a thing of an earlier name is called today; any other name as it is."""
    return OLD_NAMES.get(target, target)


def oldest(target: str) -> str:
    """Return the name that a thing had first: a digest of it outlasts the moves of files."""
    return next((old for old, today in OLD_NAMES.items() if today == todays(target)), target)


def todays_augment(node: Any) -> Any:
    """Write `{crop_padding: 4, flip: true}` as today's transforms by name; anything else stays as it is."""
    if not isinstance(node, dict) or ("crop_padding" not in node and not isinstance(node.get("flip"), bool)):
        return {} if node is None else node
    found = {"crop": node.get("crop"), "flip": node.get("flip"), **node}
    if "crop_padding" in node:
        padding = found.pop("crop_padding")
        found["crop"] = {"_target_": CROP, "padding": padding} if padding != 0 or padding is False else None
    if isinstance(found["flip"], bool):
        found["flip"] = {"_target_": FLIP} if found["flip"] else None
    return {name: found[name] for name in dict.fromkeys(["crop", "flip", *found])}


def oldest_augment(nodes: list[dict[str, Any]]) -> dict[str, Any] | list[dict[str, Any]]:
    """Write transforms as `{crop_padding: 4, flip: true}` where that says all of them."""
    said = {"crop_padding": 0, "flip": False}
    for node in nodes:
        match node:
            case {"_target_": target, **keys} if (
                target == CROP and not said["crop_padding"] and keys.keys() <= {"padding"}
            ):
                said["crop_padding"] = keys.get("padding", 4)
            case {"_target_": target, **keys} if target == FLIP and not said["flip"] and keys in ({}, {"share": 0.5}):
                said["flip"] = True
            case _:
                return nodes
    return said


def moved_augment(word: str) -> str | None:
    """Say of an override that set a key of `data.augment` how that is written now; None for any other."""
    key, _, value = word.lstrip("+~").partition("=")
    stage, found, name = key.rpartition("data.augment.")
    if not found or stage not in ("", "pretrain."):
        return None
    written = {
        "crop_padding": f"{stage}augment=crop_flip {stage}data.augment.crop.padding=4",
        "flip": f"{stage}augment=flip",
    }
    if name not in written or (name == "flip" and (value == "null" or value.startswith("{"))):
        return None
    left_out = f"{stage}data.augment.{name.removesuffix('_padding')}=null"
    return f"{key} has moved: write {written[name]}, or {left_out} to leave it out"
