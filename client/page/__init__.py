"""The hospital's page: plans that wait, in plain words, to approve or refuse; and what there is to know of the site.

commands              `python -m client page`
site_commands         commands of `python -m client`, given by the page in the name of whoever is logged in
hospital_app          the application: addresses, and the two forms that act
plan_sections         the plans that wait, and one plan in full with its forms
hosted                a page for several people: a name by the identity provider, then a key by its passphrase
identity_provider     OpenID Connect
site_sections         images, models, privacy, the coordinator, the log

The page is the person's own process with the person's own key: it shows what their commands answer (`--json`), and acts
by giving a command. What their role may not do, their page cannot. Who is let in, and how: `common.web`.
"""
