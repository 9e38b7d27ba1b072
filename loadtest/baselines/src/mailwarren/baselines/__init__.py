"""The rivals that Mailwarren is measured beside, each as somebody competent would write or set it up.

- ``smtplib_loop``: a program that sends one list over one connection, the way a script does.
- ``textbook_api``, ``textbook_tasks``: FastAPI gives each mail to Celery, a prefork worker sends it and inserts a row.
- ``postfix_relay``: a private Postfix that takes mail over SMTP and passes it on.

They share nothing with Mailwarren. Making one of them faster is welcome; making one slower is not. Only the textbook
design tries again by itself what failed (three times, as Celery's tutorial does) and Postfix, which is made for it.
"""
