{{- /* Labels that every object has beside its own. */ -}}
{{- define "casemate.labels" -}}
app.kubernetes.io/part-of: casemate
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* An image of ours by its name. A tag may carry a digest behind it. */ -}}
{{- define "casemate.image" -}}
{{ printf "%s/%s:%s" .root.Values.imageRegistry .name (.root.Values.imageTag | default .root.Chart.AppVersion) }}
{{- end }}

{{- /* What the Coordinator's objects are told by. */ -}}
{{- define "casemate.coordinator" -}}
app.kubernetes.io/name: coordinator
casemate.dev/role: coordinator
{{- end }}
