"""The textbook's worker with ``acks_late``, as advised for work that must not be lost when a worker dies.

``celery -A mailwarren.baselines.textbook_acks_late worker``: the task and the settings are those of
:mod:`.textbook_tasks`; a mail is acknowledged when its task has ended.
"""

from mailwarren.baselines.textbook_tasks import app

app.conf.update(task_acks_late=True)
