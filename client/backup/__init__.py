"""Backup of a site's folder: snapshots on another disk, encrypted, incremental, each whole or absent.

choice     what of the folder is in it, and what never is: the one-shot state of secure aggregation
take ────> vault, manifest     objects first, then the manifest that names them; read this first
opening    whose key opens it; notes, how far it had come when this site last wrote to it
restore, drill, check          back again, a rehearsal of that, and whether all of it is whole
"""
