"""Backup of a site's folder: snapshots on another disk, encrypted, incremental, each whole or absent.

create ──> repository, snapshot    objects first, then the snapshot that names them; read this first
file_selection    what of the folder is in it, and what never is: the one-shot state of secure aggregation
unlock            whose key opens it
known_backups     how far each had come when this site last wrote to it
restore           back again
drill             a rehearsal of that; model_check opens the models that came back
verify            whether all of it is whole
commands          `python -m client backup`
"""
