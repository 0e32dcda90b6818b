"""What people are told when they have to see to something: by mail, or to an address of the web.

notice_settings   what site.yaml and consortium.yaml say of it
notice_sending    a notice on its way
"""
