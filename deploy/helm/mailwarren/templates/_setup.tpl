{{/* The pod of setup. Args: root, secret (of its variables), account, wait, component; shaping: the operator's rows, of which the rules have a file. */}}
{{- define "mailwarren.setupPod" -}}
{{- $root := .root -}}
{{- $of := $root.Values.setup -}}
metadata:
  labels: {{- include "mailwarren.podLabels" . | nindent 4 }}
  annotations: {{- include "mailwarren.podAnnotations" (dict "root" $root "of" $of "secrets" (include "mailwarren.secretData" (dict "root" $root "service" "setup"))) | nindent 4 }}
    {{- with .shaping }}
    # New rows need queues of slots: other rows make another Job.
    checksum/shaping: {{ sha256sum . | trunc 32 }}
    {{- end }}
spec:
  {{- include "mailwarren.podFields" (merge (dict "token" $root.Values.bootstrap.enabled) .) | nindent 2 }}
  # Pods that failed stay, and so do their logs.
  restartPolicy: Never
  containers:
    - name: setup
      image: {{ include "mailwarren.image" (dict "root" $root "service" "ingest") }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/app/bin/mailwarren]
      args:
        - setup
        - --wait
        - {{ .wait | quote }}
        {{- if $root.Values.bootstrap.enabled }}
        - --owner-secret
        - {{ include "mailwarren.ownerSecret" $root }}
        {{- end }}
        {{- if .shaping }}
        - --shaping
        - /etc/mailwarren/shaping.toml
        {{- end }}
      env:
        {{- $env := printf "%s\n%s\n%s" (include "mailwarren.commonEnv" $root) (include "mailwarren.secretEnv" (dict "root" $root "service" "setup" "secret" .secret)) (include "mailwarren.setupEnv" $root) }}
        {{- include "mailwarren.withExtraEnv" (dict "env" $env "extra" $of.extraEnv "key" "setup.extraEnv") | nindent 8 }}
      resources: {{- toYaml $of.resources | nindent 8 }}
      securityContext: {{- include "mailwarren.securityContext" . | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .shaping }}
        - {name: rules, mountPath: /etc/mailwarren, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- if .shaping }}
    - name: rules
      configMap:
        name: {{ include "mailwarren.fullname" $root }}-rules
    {{- end }}
{{- end }}

{{- define "mailwarren.setupEnv" -}}
{{- if ne .Values.accounts.name "mailwarren" }}
- name: MAILWARREN_ACCOUNTS
  value: {{ .Values.accounts.name }}
{{- end }}
- name: MAILWARREN_API_URL
  value: {{ include "mailwarren.apiUrl" . }}
{{- end }}

{{/* Rules of setup's Role: only the one Secret, as far as RBAC can say so (a creation has no name yet). */}}
{{- define "mailwarren.setupRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "mailwarren.ownerSecret" . }}]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}

{{/* Whether the Job before the upgrade is to run ("true" or empty). Servers of this release that are not up, after an
     install that failed half-way, would never come up if the upgrade that mends them waited for them. */}}
{{- define "mailwarren.runsBeforeUpgrade" -}}
{{- $when := .Values.setup.beforeUpgrade -}}
{{- $run := and .Values.setup.enabled .Release.IsUpgrade (ne $when "never") -}}
{{- if and $run (eq $when "auto") -}}
  {{- $fullname := include "mailwarren.fullname" . -}}
  {{- if eq .Values.rabbitmq.mode "trial" -}}
    {{- $found := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-rabbitmq" $fullname) -}}
    {{- if not (($found.status | default dict).readyReplicas) }}{{ $run = false }}{{ end -}}
  {{- else if eq .Values.rabbitmq.mode "operator" -}}
    {{- $found := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-rabbitmq-server" $fullname) -}}
    {{- if not (($found.status | default dict).readyReplicas) }}{{ $run = false }}{{ end -}}
  {{- end -}}
  {{- if eq .Values.postgresql.mode "trial" -}}
    {{- $found := lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-postgres" $fullname) -}}
    {{- if not (($found.status | default dict).readyReplicas) }}{{ $run = false }}{{ end -}}
  {{- else if eq .Values.postgresql.mode "cloudnativepg" -}}
    {{- $found := lookup "postgresql.cnpg.io/v1" "Cluster" .Release.Namespace (printf "%s-postgres" $fullname) -}}
    {{- if not (($found.status | default dict).readyInstances) }}{{ $run = false }}{{ end -}}
  {{- end -}}
{{- end -}}
{{- if $run }}true{{ end -}}
{{- end }}
