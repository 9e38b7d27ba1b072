"""The pages that the readers of mail see: where a link to unsubscribe leads.

``GET /u/{token}`` shows what a reader gets and changes nothing, whoever fetches it: mail programs and scanners follow
links. ``POST`` with ``List-Unsubscribe=One-Click`` leaves what the mail was about (RFC 8058); with the page's own form
it does what was chosen. A token that was not made here is answered with one page, whatever is wrong with it. Nothing
here needs a script, a cookie or another host. While the database is away the answer is 503, and a mail provider tries
again.
"""
