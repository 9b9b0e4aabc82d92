# JupyterLab as `make lab` starts it: on the book's cover, rendered, without touching anyone's own settings.
import os
from nbdev.clean import clean_jupyter

here = os.path.dirname(os.path.abspath(__file__))
c = get_config()  # noqa: F821 (Jupyter gives it)
c.ServerApp.root_dir = os.path.join(here, "..", "..", "nbs")
c.LabApp.default_url = "/lab/tree/index.md"
c.LabApp.app_settings_dir = here                 # overrides.json beside this file: defaults, which a reader's own settings override
c.ContentsManager.pre_save_hook = clean_jupyter  # nbdev's clean hook: no execution counts or metadata in what is saved
