"""The coordinator's live page: a process of its own, which reads the coordinator's folder and changes nothing in it.

commands              `python -m server dashboard`
page_server           the process: where it listens, and what it says at its start
dashboard_app         the application: who is let in, before anything is answered
login                 a password or a one-time link, then a session
pages                 all addresses
push                  what changed, to every open page
live_page             the live page: its parts, and what is said to whoever listens
consortium_view       the coordinator's folder at one moment, from which all parts are made
run_sections, consortium_sections   the parts
errors_page           docs/errors.md as a page
page_frame            what stands around every page
"""
