// Prints the fields of the Go types of k8s.io/api as JSON: what OpenAPI does not say, whether a
// field is a pointer, whether an empty one is left out, and its number in protobuf. The arguments name the kinds, as
// apiVersion/Kind.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

type field map[string]any

var types = map[string]map[string]field{}

// Types with an encoding of their own.
var scalars = map[string]string{
	"k8s.io/apimachinery/pkg/apis/meta/v1.Time":       "Time",
	"k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime":  "MicroTime",
	"k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1":   "Raw",
	"k8s.io/apimachinery/pkg/apis/meta/v1.Duration":   "Duration",
	"k8s.io/apimachinery/pkg/api/resource.Quantity":   "Quantity",
	"k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
	"k8s.io/apimachinery/pkg/runtime.RawExtension":    "Raw",
	"k8s.io/apimachinery/pkg/apis/meta/v1.ObjectMeta": "ObjectMeta",
}

func name(t reflect.Type) string {
	return strings.TrimPrefix(strings.ReplaceAll(t.PkgPath(), "/", "."), "k8s.io.") + "." + t.Name()
}

func describe(t reflect.Type) field {
	if scalar, ok := scalars[t.PkgPath()+"."+t.Name()]; ok {
		return field{"type": scalar}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := describe(t.Elem())
		inner["pointer"] = 1
		return inner
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return field{"type": "bytes"}
		}
		return field{"items": describe(t.Elem())}
	case reflect.Map:
		return field{"map": describe(t.Elem())}
	case reflect.Struct:
		collect(t)
		return field{"ref": name(t)}
	}
	return field{"type": t.Kind().String()}
}

func collect(t reflect.Type) {
	if _, known := types[name(t)]; known {
		return
	}
	fields := map[string]field{}
	types[name(t)] = fields
	add(t, fields, 0)
}

// An embedded struct is a message of its own in protobuf: `via` is its number, 0 for none. TypeMeta
// is no part of the message.
func add(t reflect.Type, fields map[string]field, via int) {
	for i := 0; i < t.NumField(); i++ {
		part := t.Field(i)
		tag, options, _ := strings.Cut(part.Tag.Get("json"), ",")
		if part.Anonymous && tag == "" {
			add(part.Type, fields, number(part))
			continue
		}
		if tag == "-" || tag == "" {
			continue
		}
		found := describe(part.Type)
		if t.Name() != "TypeMeta" {
			found["proto"] = number(part)
		}
		if via != 0 {
			found["via"] = via
		}
		if strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero") {
			found["omit"] = 1
		}
		if strings.Contains(options, "omitzero") {
			found["omitzero"] = 1
		}
		fields[tag] = found
	}
}

func number(part reflect.StructField) int {
	parts := strings.Split(part.Tag.Get("protobuf"), ",")
	if len(parts) < 2 {
		return 0
	}
	found, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return found
}

func main() {
	roots := map[string]string{}
	for _, kind := range os.Args[1:] {
		at := strings.LastIndex(kind, "/")
		gv, err := schema.ParseGroupVersion(kind[:at])
		if err != nil {
			panic(err)
		}
		object, err := scheme.Scheme.New(gv.WithKind(kind[at+1:]))
		if err != nil {
			panic(err)
		}
		t := reflect.TypeOf(object).Elem()
		collect(t)
		roots[kind] = name(t)
	}
	collect(reflect.TypeOf(metav1.ObjectMeta{}))
	collect(reflect.TypeOf(metav1.DeleteOptions{}))
	out, err := json.Marshal(map[string]any{"roots": roots, "types": types})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(out))
}
