{{- /* Names are fixed: shard pods, SDK settings and documents refer to them. One release per namespace. The release's name
       and namespace are in the selectors and addresses of pools, which outlive it: who installs it again keeps both.
       Either may be digits only: they are quoted wherever they are a whole value. */ -}}

{{- define "millstream.version" -}}
{{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Labels of everything. Called with (dict "root" $ "component" "gateway"). */ -}}
{{- define "millstream.labels" -}}
{{ include "millstream.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: millstream
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ include "millstream.version" .root }}
{{- end }}

{{- /* The labels by which pods are found; they never change. */ -}}
{{- define "millstream.selector" -}}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/name: millstream
{{- end }}

{{- /* One image. Called with (dict "root" $ "image" .Values.images.server). */ -}}
{{- define "millstream.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "millstream.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* More labels of a component's pods. Called with (dict "values" .Values.gateway "path" "gateway"). */ -}}
{{- define "millstream.podLabels" -}}
{{- range $name := list "name" "instance" "component" }}
{{- if hasKey $.values.podLabels (printf "app.kubernetes.io/%s" $name) }}
{{- fail (printf "%s.podLabels: app.kubernetes.io/%s is how the pods are found: choose another label" $.path $name) }}
{{- end }}
{{- end }}
{{- with .values.podLabels }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* What every pod of ours is allowed: nothing beyond the level `restricted`. */ -}}
{{- define "millstream.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "millstream.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* Where a pod of ours may run. Called with the values of the component. */ -}}
{{- define "millstream.scheduling" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
# A node that is lost has been silent for most of a minute when it gets these taints; the pods hold nothing.
tolerations:
  {{- range list "not-ready" "unreachable" }}
  - {key: node.kubernetes.io/{{ . }}, operator: Exists, effect: NoExecute, tolerationSeconds: {{ $.nodeLossSeconds }}}
  {{- end }}
  {{- with .tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* The watched namespaces as a JSON list; empty when all are watched. */ -}}
{{- define "millstream.namespaces" -}}
{{- if has "*" .Values.watchNamespaces -}}
[]
{{- else -}}
{{ .Values.watchNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson }}
{{- end -}}
{{- end }}

{{- /* The name of what lies outside of any namespace: two releases must not meet. */ -}}
{{- define "millstream.clusterName" -}}
millstream-operator:{{ .Release.Namespace }}
{{- end }}

{{- /* The TLS port's certificate: `secret`, `self-signed`, or nothing. */ -}}
{{- define "millstream.tls" -}}
{{- with .Values.gateway.tls -}}
{{- if and (not .enabled) (or .secretName .selfSigned) -}}
{{ fail "gateway.tls: secretName and selfSigned do nothing without gateway.tls.enabled: true" }}
{{- end -}}
{{- if .enabled -}}
{{- if and .secretName .selfSigned -}}
{{ fail "gateway.tls: secretName and selfSigned exclude each other: remove one" }}
{{- else if .secretName -}}
secret
{{- else if .selfSigned -}}
self-signed
{{- else -}}
{{ fail "gateway.tls.enabled needs gateway.tls.secretName (a Secret of the type kubernetes.io/tls) or gateway.tls.selfSigned: true" }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* The settings of a gateway as variables, by their names. */ -}}
{{- define "millstream.gatewayEnvironment" -}}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom: {fieldRef: {fieldPath: {{ $path }}}}
{{- end }}
{{- $settings := dict
  "MILLSTREAM_LISTEN" "0.0.0.0:4567"
  "MILLSTREAM_ADMIN_LISTEN" "0.0.0.0:4568"
  "MILLSTREAM_METRICS_TOKEN_FILE" "/var/run/secrets/millstream-metrics/token"
  "MILLSTREAM_AUTH" "verify"
  "MILLSTREAM_DATA_DIR" "/var/lib/millstream"
  "MILLSTREAM_REGION" .Values.region
  "MILLSTREAM_DRAIN_SECONDS" (toString .Values.gateway.drainSeconds)
  "MILLSTREAM_OPERATOR" (printf "millstream-operator.%s.svc.%s:4570" .Release.Namespace .Values.clusterDomain)
  "MILLSTREAM_TOKEN_FILE" "/var/run/secrets/millstream/token"
  "MILLSTREAM_CA_FILE" "/etc/millstream/ca/ca.crt"
  "MILLSTREAM_LOG" .Values.gateway.logLevel
  "MILLSTREAM_LOG_FORMAT" "json" }}
{{- $tls := include "millstream.tls" . }}
{{- if $tls }}
{{- $_ := set $settings "MILLSTREAM_TLS_LISTEN" "0.0.0.0:4566" }}
{{- end }}
{{- if eq $tls "secret" }}
{{- $_ := set $settings "MILLSTREAM_TLS_CERT" "/etc/millstream/tls/tls.crt" }}
{{- $_ := set $settings "MILLSTREAM_TLS_KEY" "/etc/millstream/tls/tls.key" }}
{{- else if eq $tls "self-signed" }}
{{- $_ := set $settings "MILLSTREAM_TLS" "self-signed" }}
{{- $name := printf "millstream.%s" .Release.Namespace }}
{{- $_ := set $settings "MILLSTREAM_TLS_NAMES" (printf "millstream,%s,%s.svc,%s.svc.%s" $name $name $name .Values.clusterDomain) }}
{{- end }}
{{- range $name, $value := .Values.gateway.settings }}
{{- $_ := set $settings (printf "MILLSTREAM_%s" ($name | upper | replace "-" "_")) $value }}
{{- end }}
{{- range $name, $value := $settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
