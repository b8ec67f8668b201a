package connector

import (
	"net"
	"net/http"
	"time"
)

// NewClient returns a client for systems that are called often: connections are
// kept for as many parallel requests as a connection may have. HTTP/1.1 only: on
// a connection of its own it is plain whether any byte of a write was sent. Idle
// connections go before the usual gateways close them, because a write that
// meets a closing connection is in doubt.
func NewClient() *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    512, // several connections may share a host
		IdleConnTimeout:        30 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              &protocols,
	}}
}
