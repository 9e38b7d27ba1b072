"""A scripted SMTP receiver: the world's mail servers, and the witness of what really reached them.

One process on one loop: a byte-level SMTP server (RFC 5321) whose personas refuse, delay, greylist and drop as a
script says, a compact record of every final dot, and an HTTP side to read both.

What counts, and when:

- A mail is *received* when its final dot was read, and *answered* when the reply to that dot was given to the kernel
  on a connection that was still open. Between the two lies the only moment in which a sender can't know whether
  it has delivered; the record keeps both times, so that a test can tell a duplicate that had to happen from a bug.
- Nothing here retries and nothing is guessed: a connection that goes away leaves ``answered_at`` empty.
- Records live in memory only; they end with the process or with ``DELETE /messages``.

``server.running_sink`` runs it inside a test, ``main.main`` as a program.
"""
