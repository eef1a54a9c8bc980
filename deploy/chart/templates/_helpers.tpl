{{- define "redis-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "redis-operator.fullname" -}}
{{- $name := include "redis-operator.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "redis-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "redis-operator.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "redis-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "redis-operator.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- /* Immutable in a Deployment: nothing of it may change from chart to chart. */}}
{{- define "redis-operator.selector" -}}
app.kubernetes.io/name: {{ include "redis-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "redis-operator.labels" -}}
{{ include "redis-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The metadata of an object of the namespace: (list $ NAME) or (list $ NAME ANNOTATIONS LABELS NAMESPACE) */}}
{{- define "redis-operator.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := dict }}
{{- $labels := include "redis-operator.labels" $root | fromYaml }}
{{- $namespace := include "redis-operator.namespace" $root }}
{{- if gt (len .) 2 }}{{ $annotations = index . 2 }}{{ end }}
{{- if gt (len .) 3 }}{{ $labels = merge (index . 3) $labels }}{{ end }}
{{- if gt (len .) 4 }}{{ $namespace = index . 4 }}{{ end }}
{{- $annotations = mergeOverwrite (deepCopy $root.Values.commonAnnotations) $annotations }}
name: {{ index . 1 }}
{{- with $namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* A role and its binding: (dict "root" $ "name" NAME "namespace" NAMESPACE-OR-EMPTY "rules" RULES "account" ACCOUNT "labels" LABELS) */}}
{{- define "redis-operator.role" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") }}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "redis-operator.metadata" (list .root .name (dict) (deepCopy (default (dict) .labels)) .namespace) | nindent 2 }}
rules:
  {{- toYaml .rules | nindent 2 }}
{{- with .account }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "redis-operator.metadata" (list $.root $.name (dict) (dict) $.namespace) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ $.name }}
subjects:
  - kind: ServiceAccount
    name: {{ . }}
    namespace: {{ include "redis-operator.namespace" $.root }}
{{- end }}
{{- end }}
