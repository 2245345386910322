"""What classes and functions were called in configs that earlier versions wrote, or that somebody wrote for them."""

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


def todays(target: str) -> str:
    """Return what a thing of an earlier name is called today; any other name as it is."""
    return OLD_NAMES.get(target, target)


def oldest(target: str) -> str:
    """Return the name that a thing had first: a digest of it outlasts the moves of files."""
    return next((old for old, today in OLD_NAMES.items() if today == todays(target)), target)
