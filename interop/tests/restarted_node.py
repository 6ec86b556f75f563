"""A node of our own kind that a test stops and starts."""

from peers import OurNode


class OurNodeOfOneTest:
    """A node that may be restarted, on the same port."""

    def __init__(self, world, folder) -> None:
        self.world, self.folder = world, folder
        self.node = OurNode(folder)
        self.endpoint = self.node.endpoint
        world.used_nodes.append(self.node)

    def stop(self) -> None:
        self.node.stop()

    def start(self) -> None:
        self.node = OurNode(self.folder, self.node.port)
        self.world.used_nodes.append(self.node)

    def __enter__(self) -> "OurNodeOfOneTest":
        return self

    def __exit__(self, *_exception) -> None:
        self.node.stop()
