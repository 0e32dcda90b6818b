"""Backup of a site's folder: snapshots on another disk, encrypted, incremental, each whole or absent.

file_selection           what of the folder is in it, and what never is: the one-shot state of secure aggregation
create ──> repository, snapshot    objects first, then the snapshot that names them; read this first
unlock                   whose key opens it; known_backups: how far it had come when this site last wrote to it
restore, drill, verify   back again, a rehearsal of that, and whether all of it is whole
"""
