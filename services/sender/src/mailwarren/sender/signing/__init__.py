"""Mails signed with DKIM: built and signed in threads (:mod:`.mails`), several at a time (:mod:`.batches`).

A mail that is to be signed never goes unsigned. When its keys cannot be had (``KeysAway``), its parcel waits on the
ladder; :mod:`mailwarren.sender.deliver` puts it there.
"""
