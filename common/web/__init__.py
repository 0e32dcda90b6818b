"""What serves a page to people's browsers and draws it, for the coordinator's page, the hospital's, and reports.

markup             elements, a page of them with its style, and numbers as people read them
page_frame         what stands around every page, and its assets: style.css and page.css, find.js, page.js
login              a password or a one-time link, then a session
form               the fields of a small form
page_app           who is let in, before anything is answered
page_server        the process: where it listens, and what it says at its start
http_limits        uvicorn's HTTP protocol, with an end to headers that are slow or endless
"""
