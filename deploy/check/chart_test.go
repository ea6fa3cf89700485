// Package check_test checks what deploy/ hands to Kubernetes, with Helm's and Kubernetes' own code. It is a module of its own because these are
// large: make deploy-check runs it, make test does not.
package check_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

const chartDir = "../helm/pulsestream"

// variants are the values that people set.
func variants() map[string]map[string]any {
	return map[string]map[string]any{
		"as it is": {},
		"with a secret of one's own": {
			"auth": map[string]any{"existingSecret": "mine"},
		},
		"with servers from elsewhere": {
			"auth":     map[string]any{"existingSecret": "mine"},
			"postgres": map[string]any{"enabled": false},
			"nats":     map[string]any{"enabled": false},
			"redis":    map[string]any{"enabled": false},
			"urls":     map[string]any{"existingSecret": "urls"},
		},
		"with an ingress and limits": {
			"publicUrl": "https://pulse.example.com", "rateLimit": 1000, "egressAllow": []any{"10.1.0.0/16", "10.2.0.0/16"}, "trustedProxies": []any{"10.244.0.0/16"},
			"ingress": map[string]any{"enabled": true, "className": "nginx", "host": "pulse.example.com", "ingestHost": "in.example.com", "tlsSecret": "tls"},
		},
	}
}

// render is the chart's objects, decoded as strictly as the API server does with fieldValidation=Strict.
func render(t *testing.T, values map[string]any) []runtime.Object {
	t.Helper()
	chart, err := loader.Load(chartDir)
	if err != nil {
		t.Fatal(err)
	}
	v, err := util.ToRenderValues(chart, values, common.ReleaseOptions{Name: "pulse", Namespace: "monitoring", Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Engine{Strict: true}.Render(chart, v)
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".txt") {
			continue
		}
		for document := range strings.SplitSeq(files[name], "\n---") {
			if strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(document), "---")) == "" {
				continue
			}
			o, _, err := decoder.Decode([]byte(document), nil, nil)
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, document)
				continue
			}
			out = append(out, o)
		}
	}
	if len(out) < 8 {
		t.Fatalf("%d objects", len(out))
	}
	return out
}

func TestHelmFindsNothingWrongWithTheChart(t *testing.T) {
	for name, values := range variants() {
		result := lint.RunAll(chartDir, values, "monitoring")
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %s", name, m)
			}
		}
	}
}

// pods are the templates of pods, by what makes them.
func pods(objects []runtime.Object) map[string]*corev1.PodTemplateSpec {
	out := map[string]*corev1.PodTemplateSpec{}
	for _, o := range objects {
		switch w := o.(type) {
		case *appsv1.Deployment:
			out[w.Name] = &w.Spec.Template
		case *appsv1.StatefulSet:
			out[w.Name] = &w.Spec.Template
		}
	}
	return out
}

func TestWhatTheObjectsNameIsThere(t *testing.T) {
	for name, values := range variants() {
		t.Run(name, func(t *testing.T) {
			objects := render(t, values)
			known := map[string]bool{"Secret/mine": true, "Secret/urls": true, "Secret/tls": true}
			services := map[string]*corev1.Service{}
			for _, o := range objects {
				m := o.(metav1.Object)
				kind := fmt.Sprintf("%T", o)
				known[kind[strings.LastIndex(kind, ".")+1:]+"/"+m.GetName()] = true
				if s, ok := o.(*corev1.Service); ok {
					services[s.Name] = s
				}
			}
			all := pods(objects)
			chosen := func(selector map[string]string) (n int) {
				for _, p := range all {
					if labels.SelectorFromSet(selector).Matches(labels.Set(p.Labels)) {
						n++
					}
				}
				return n
			}
			for _, o := range objects {
				switch w := o.(type) {
				case *corev1.Service:
					if n := chosen(w.Spec.Selector); n != 1 {
						t.Errorf("service %s chooses the pods of %d workloads", w.Name, n)
					}
				case *policyv1.PodDisruptionBudget:
					if n := chosen(w.Spec.Selector.MatchLabels); n != 1 {
						t.Errorf("budget %s chooses the pods of %d workloads", w.Name, n)
					}
				case *appsv1.Deployment:
					if n := chosen(w.Spec.Selector.MatchLabels); n != 1 {
						t.Errorf("deployment %s chooses the pods of %d workloads", w.Name, n)
					}
				case *appsv1.StatefulSet:
					if n := chosen(w.Spec.Selector.MatchLabels); n != 1 || services[w.Spec.ServiceName] == nil {
						t.Errorf("set %s chooses the pods of %d workloads, its service is %q", w.Name, n, w.Spec.ServiceName)
					}
				case *networkingv1.Ingress:
					for _, rule := range w.Spec.Rules {
						for _, p := range rule.HTTP.Paths {
							s := services[p.Backend.Service.Name]
							if s == nil || !slices.ContainsFunc(s.Spec.Ports, func(port corev1.ServicePort) bool { return port.Name == p.Backend.Service.Port.Name }) {
								t.Errorf("the ingress leads to %s, port %s", p.Backend.Service.Name, p.Backend.Service.Port.Name)
							}
						}
					}
				}
			}
			for name, p := range all {
				for _, c := range p.Spec.Containers {
					for _, e := range c.Env {
						if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !known["Secret/"+e.ValueFrom.SecretKeyRef.Name] {
							t.Errorf("%s: no secret %s", name, e.ValueFrom.SecretKeyRef.Name)
						}
					}
				}
				for _, v := range p.Spec.Volumes {
					if v.ConfigMap != nil && !known["ConfigMap/"+v.ConfigMap.Name] {
						t.Errorf("%s: no settings %s", name, v.ConfigMap.Name)
					}
				}
			}
		})
	}
}

func TestEveryProcessIsProbedBoundedAndStoppedInTime(t *testing.T) {
	objects := render(t, nil)
	budgets := map[string]bool{}
	for _, o := range objects {
		if b, ok := o.(*policyv1.PodDisruptionBudget); ok {
			budgets[b.Name] = true
		}
	}
	for name, p := range pods(objects) {
		c := &p.Spec.Containers[0]
		if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s has no requests, or no limit of memory", name)
		}
		if c.ReadinessProbe == nil || c.LivenessProbe == nil {
			t.Errorf("%s has no probes", name)
		}
		if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
			t.Errorf("%s may get more rights", name)
		}
		if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
			t.Errorf("%s has a token of the cluster that it doesn't need", name)
		}
		for _, e := range c.Env {
			if strings.HasSuffix(e.Name, "PASSWORD") && e.ValueFrom == nil && !strings.Contains(e.Value, "$(") {
				t.Errorf("%s: %s stands in the manifest", name, e.Name)
			}
		}
		if !strings.Contains(p.Labels["app.kubernetes.io/component"], "postgres") && !strings.Contains(p.Labels["app.kubernetes.io/component"], "redis") && !budgets[name] {
			t.Errorf("%s has no budget of disruptions", name)
		}
	}
	roles := 0
	for _, o := range objects {
		d, ok := o.(*appsv1.Deployment)
		if !ok || d.Labels["app.kubernetes.io/component"] == "redis" {
			continue
		}
		roles++
		c := &d.Spec.Template.Spec.Containers[0]
		if *d.Spec.Replicas != 2 || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%s: %d replicas, %s may be missing", d.Name, *d.Spec.Replicas, d.Spec.Strategy.RollingUpdate.MaxUnavailable)
		}
		if c.ReadinessProbe.HTTPGet.Path != "/readyz" || c.LivenessProbe.HTTPGet.Path != "/healthz" || c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
			t.Errorf("%s is probed at %s and %s", d.Name, c.ReadinessProbe.HTTPGet.Path, c.LivenessProbe.HTTPGet.Path)
		}
	}
	if roles != 3 {
		t.Errorf("%d roles", roles)
	}
}
