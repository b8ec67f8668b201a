// Package web is the console: server-rendered pages, one style sheet and one
// small script, all embedded; nothing comes from another host.
//
// It owns how Patchbay looks and speaks to people. httpapi serves it behind the
// same gate as the API; it reads runs, flows and journal entries through the
// small interfaces of Options and changes nothing itself: the script presses
// and cancels through the API, as any other client would. It imports flow and
// fault.
//
// Invariants: every page can be read without the script; values reach a page
// through html/template only; the Content-Security-Policy allows own files and
// nothing inline; another principal's run is a page that does not exist.
package web
