{{/* What Prometheus is to do: rules, alerts, and how RabbitMQ's queues are read. */}}

{{/* The rule groups of a file, with what the values say of alerts. Args: root, path. Returns YAML: groups. */}}
{{- define "mailwarren.ruleGroups" -}}
{{- $alerts := .root.Values.monitoring.alerts -}}
{{- $content := .root.Files.Get .path | fromYaml -}}
{{- range $group := $content.groups -}}
  {{- range $rule := $group.rules -}}
    {{- if hasKey $rule "alert" -}}
      {{- $_ := set $rule "labels" (merge (dict) $rule.labels $alerts.labels) -}}
      {{- $_ := set $rule.annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" $alerts.runbooks) (base $rule.annotations.runbook_url)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "groups" $content.groups | toYaml -}}
{{- end }}

{{/* What is read of RabbitMQ: its nodes, and a few series of each queue, but none of a channel. Two monitors, because two
     endpoints of one port would have the same labels. Returns YAML: end of the name: path, params. */}}
{{- define "mailwarren.rabbitmqMetrics" -}}
rabbitmq:
  path: /metrics
rabbitmq-queues:
  path: /metrics/detailed
  params:
    vhost: [{{ include "mailwarren.vhost" . | quote }}]
    family: [queue_coarse_metrics, queue_consumer_count]
{{- end }}

{{/* Labels of an object for Prometheus. Args: root, labels (those it is selected by). */}}
{{- define "mailwarren.monitoringLabels" -}}
{{ include "mailwarren.labels" (dict "root" .root "component" "monitoring") }}
{{- with .labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
