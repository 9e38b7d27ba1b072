{{/* Names, labels and the parts that every pod has. */}}

{{- define "mailwarren.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that select the pods of a component. Args: root, component. */}}
{{- define "mailwarren.selectorLabels" -}}
app.kubernetes.io/name: mailwarren
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .fleet }}
mailwarren/fleet: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of an object. Args: root, component. */}}
{{- define "mailwarren.labels" -}}
{{ include "mailwarren.selectorLabels" . }}
app.kubernetes.io/version: {{ default .root.Chart.AppVersion .root.Values.image.tag | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/part-of: mailwarren
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{/* The image of a service. Args: root, service. */}}
{{- define "mailwarren.image" -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
mailwarren-{{ .service }}:{{ default .root.Chart.AppVersion .root.Values.image.tag }}
{{- end }}

{{/* The ServiceAccount of a component. Args: root, component. */}}
{{- define "mailwarren.serviceAccountName" -}}
{{- $given := index .root.Values.serviceAccount.names .component | default "" -}}
{{- if $given -}}
{{ $given }}
{{- else if .root.Values.serviceAccount.create -}}
{{ include "mailwarren.fullname" .root }}-{{ .component }}
{{- else -}}
default
{{- end -}}
{{- end }}

{{/* What the restricted Pod Security Standard asks of a pod. Args: user (10001 unless given). */}}
{{- define "mailwarren.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .user | default 10001 }}
runAsGroup: {{ .user | default 10001 }}
fsGroup: {{ .user | default 10001 }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* … and of a container. */}}
{{- define "mailwarren.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The fields of a pod that do not depend on its containers.
     Args: root, component, account (a key of serviceAccount.names), user, token (true mounts the account's token). */}}
{{- define "mailwarren.podFields" -}}
serviceAccountName: {{ include "mailwarren.serviceAccountName" (dict "root" .root "component" .account) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext: {{- include "mailwarren.podSecurityContext" . | nindent 2 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where pods may run. Args: root, component, fleet, of (the values of the service), priority. */}}
{{- define "mailwarren.scheduling" -}}
{{- with .of.priorityClassName | default .priority }}
priorityClassName: {{ . }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := .root.Values.topologySpread }}
{{- if and $spread.enabled $spread.keys }}
topologySpreadConstraints:
  {{- range $spread.keys }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
    labelSelector:
      matchLabels: {{- include "mailwarren.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end }}

{{/* Labels of pods. Without the versions for servers (user is given): they do not restart for a new version of ours.
     Args: root, component, fleet, user. */}}
{{- define "mailwarren.podLabels" -}}
{{ include "mailwarren.selectorLabels" . }}
app.kubernetes.io/part-of: mailwarren
{{- if not .user }}
app.kubernetes.io/version: {{ default .root.Chart.AppVersion .root.Values.image.tag | trunc 63 | trimAll "-_." | quote }}
{{- end }}
{{- with .root.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of pods. Args: root, of (the values of the service), metrics (port), secrets (rendered, for a checksum). */}}
{{- define "mailwarren.podAnnotations" -}}
{{- if .secrets }}
checksum/secrets: {{ .secrets | sha256sum | trunc 32 }}
{{- end }}
{{- if and .metrics .root.Values.monitoring.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .metrics | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- with mergeOverwrite (dict) (deepCopy .root.Values.podAnnotations) (deepCopy (.of.podAnnotations | default dict)) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Probes of a service on port 9464. Startup grants two minutes: nothing of ours needs them, a busy node may. */}}
{{- define "mailwarren.httpProbes" -}}
startupProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* A priority class of the chart. Args: root, which (high or bulk). Empty where the chart makes none. */}}
{{- define "mailwarren.priorityClass" -}}
{{- if .root.Values.priorityClasses.create -}}
{{ .root.Release.Namespace }}-{{ include "mailwarren.fullname" .root }}-{{ .which }}
{{- end -}}
{{- end }}

{{- define "mailwarren.ownerSecret" -}}
{{ default (printf "%s-owner" (include "mailwarren.fullname" .)) .Values.bootstrap.secretName }}
{{- end }}

{{- define "mailwarren.apiUrl" -}}
http://{{ include "mailwarren.fullname" . }}-ingest.{{ .Release.Namespace }}.svc:{{ .Values.ingest.service.port }}/v1
{{- end }}
