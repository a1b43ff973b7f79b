"""Dataset plug-ins, one file each; `files` reads their formats."""
