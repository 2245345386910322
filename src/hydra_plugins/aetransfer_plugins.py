"""The config files of installed plugins, behind the program's own and before those of --config-dir.

Found by Hydra through the namespace package, as the sweepers and launchers are.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from aetransfer.config.plugins import PROVIDER, config_directory, plugins


class PluginsSearchPath(SearchPathPlugin):
    """Adds them to this program's search path; other programs of Hydra's are left as they are."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if any(place.path == str(config_directory()) for place in search_path.get_path()):
            for plugin in plugins():
                search_path.append(f"{PROVIDER}{plugin.package}", str(plugin.configs))
