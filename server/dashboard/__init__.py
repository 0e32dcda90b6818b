"""The coordinator's live page: a process of its own, which reads the coordinator's folder and changes nothing in it.

lock      who may look: a password or a one-time link, then a session
door      the application, and who is let in
pages     what there is
pushed    what changed, to every open page
live      what the live page shows: its parts, what is said to whoever listens
look      one look at the folder, from which all parts are made
parts_of_run, parts_of_consortium
errors    docs/errors.md as a page
shell     what stands around every page
serving   the process
"""

from server.dashboard.page_server import ask_password, serve

__all__ = ["ask_password", "serve"]
