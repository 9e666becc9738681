// An operator as controller-runtime's documentation advises: a Deployment and a Service for each
// Web, a finalizer, a status, an Event, and a Lease for its leader.
//
// The variable MISTAKE=restless makes it write a time into the status in every pass.
package main

import (
	"context"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

const finalizer = "clients.example.dev/web"

var kind = schema.GroupVersionKind{Group: "clients.example.dev", Version: "v1", Kind: "Web"}

type reconciler struct {
	client.Client
	events record.EventRecorder
}

func newWeb() *unstructured.Unstructured {
	web := &unstructured.Unstructured{}
	web.SetGroupVersionKind(kind)
	return web
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	web := newWeb()
	if err := r.Get(ctx, request.NamespacedName, web); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !web.GetDeletionTimestamp().IsZero() {
		if controllerutil.RemoveFinalizer(web, finalizer) {
			return ctrl.Result{}, r.Update(ctx, web)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(web, finalizer) {
		return ctrl.Result{}, r.Update(ctx, web)
	}
	made, err := r.deploy(ctx, web)
	if err != nil {
		return ctrl.Result{}, err
	}
	if made == controllerutil.OperationResultCreated {
		r.events.Event(web, corev1.EventTypeNormal, "Deployed", "created the Deployment")
	}
	if err := r.expose(ctx, web); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.report(ctx, web)
}

func (r *reconciler) deploy(ctx context.Context, web *unstructured.Unstructured) (controllerutil.OperationResult, error) {
	number, _, _ := unstructured.NestedInt64(web.Object, "spec", "replicas")
	replicas := int32(number)
	labels := map[string]string{"web": web.GetName()}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: web.GetName(), Namespace: web.GetNamespace()}}
	return controllerutil.CreateOrUpdate(ctx, r.Client, deployment, func() error {
		deployment.Spec.Replicas = &replicas
		deployment.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		deployment.Spec.Template.Labels = labels
		containers := &deployment.Spec.Template.Spec.Containers
		if len(*containers) == 0 {
			*containers = []corev1.Container{{Name: "web"}}
		}
		(*containers)[0].Image = "nginx:1.27"
		return controllerutil.SetControllerReference(web, deployment, r.Scheme())
	})
}

func (r *reconciler) expose(ctx context.Context, web *unstructured.Unstructured) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: web.GetName(), Namespace: web.GetNamespace()}}
	_, err := controllerutil.CreateOrUpdate(ctx, r.Client, service, func() error {
		service.Spec.Selector = map[string]string{"web": web.GetName()}
		port := corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080)}
		service.Spec.Ports = []corev1.ServicePort{port}
		return controllerutil.SetControllerReference(web, service, r.Scheme())
	})
	return err
}

func (r *reconciler) report(ctx context.Context, web *unstructured.Unstructured) error {
	status := map[string]any{"phase": "Deployed"}
	if os.Getenv("MISTAKE") == "restless" {
		status["seen"] = time.Now().String()
	} else if phase, _, _ := unstructured.NestedString(web.Object, "status", "phase"); phase == "Deployed" {
		return nil
	}
	before := web.DeepCopy()
	if err := unstructured.SetNestedMap(web.Object, status, "status"); err != nil {
		return err
	}
	return r.Status().Patch(ctx, web, client.MergeFrom(before))
}

func run() error {
	ctrl.SetLogger(zap.New())
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		LeaderElection:          os.Getenv("ELECT") != "",
		LeaderElectionID:        "web",
		LeaderElectionNamespace: os.Getenv("ELECT"),
	})
	if err != nil {
		return err
	}
	reconciler := &reconciler{manager.GetClient(), manager.GetEventRecorderFor("web")}
	controller := ctrl.NewControllerManagedBy(manager).For(newWeb())
	if err := controller.Owns(&appsv1.Deployment{}).Owns(&corev1.Service{}).Complete(reconciler); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func main() {
	if err := run(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
}
