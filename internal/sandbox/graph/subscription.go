package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

const (
	longest      = 42_300 * time.Minute
	answerWithin = 10 * time.Second // to the word that is sent at the beginning
)

// subscription serves subscriptions and subscriptions/ID.
func (r *request) subscription(ctx context.Context, path string) (exchange.Answer, error) {
	id, action, _ := strings.Cut(path, "/")
	switch {
	case id == "" && r.c.Method == http.MethodGet:
		rows, err := r.tx.Find(ctx, subscriptions, storage.Query{Where: storage.Compare{Column: "by", Op: storage.Eq, Value: r.c.User.ClientID}})
		if err != nil {
			return exchange.Answer{}, fmt.Errorf("reading subscriptions: %w", err)
		}
		list := []*ordered.Object{}
		for _, row := range rows {
			if expires, _ := row["expires"].(time.Time); expires.After(r.c.At) {
				list = append(list, shown(row))
			}
		}
		return answer(http.StatusOK, ordered.New("@odata.context", r.c.Base+api+"$metadata#subscriptions", "value", list)), nil
	case id == "" && r.c.Method == http.MethodPost:
		return r.subscribe(ctx)
	case id == "":
		return refuse(r.c, http.StatusMethodNotAllowed, "notAllowed", "", "The action is not allowed."), nil
	}
	row, err := byID(ctx, r.tx, subscriptions, id, r.writes())
	if err != nil {
		return exchange.Answer{}, err
	}
	if expires, _ := row["expires"].(time.Time); row == nil || row["by"] != r.c.User.ClientID || !expires.After(r.c.At) {
		return refuse(r.c, http.StatusNotFound, "ResourceNotFound", "", "The object was not found."), nil
	}
	switch r.c.Method + " " + action {
	case "GET ":
		return answer(http.StatusOK, shown(row)), nil
	case "POST reauthorize":
		return exchange.Answer{Status: http.StatusNoContent}, nil
	case "DELETE ":
		if _, err := r.tx.Delete(ctx, subscriptions, subscriptions.Key(row)); err != nil {
			return exchange.Answer{}, fmt.Errorf("ending a subscription: %w", err)
		}
		return exchange.Answer{Status: http.StatusNoContent}, nil
	case "PATCH ":
		var said struct {
			Expires time.Time `json:"expirationDateTime"`
		}
		if !r.body(&said) || !said.Expires.After(r.c.At) || said.Expires.After(r.c.At.Add(longest+time.Minute)) {
			return badRequest(r.c, "Subscription expiration can only be 42300 minutes in the future."), nil
		}
		expires := said.Expires.UTC().Truncate(1e6)
		if err := r.tx.Update(ctx, subscriptions, storage.Row{"id": id, "expires": expires}); err != nil {
			return exchange.Answer{}, fmt.Errorf("renewing a subscription: %w", err)
		}
		renewed := storage.Row{}
		for column, value := range row {
			renewed[column] = value
		}
		renewed["expires"] = expires
		return answer(http.StatusOK, shown(renewed)), nil
	}
	return refuse(r.c, http.StatusMethodNotAllowed, "notAllowed", "", "The action is not allowed."), nil
}

// shown is a subscription as it is read: without its clientState.
func shown(row storage.Row) *ordered.Object {
	return ordered.New("id", row["id"], "resource", row["resource"], "applicationId", row["by"], "changeType", "updated", "clientState", nil,
		"notificationUrl", row["url"], "lifecycleNotificationUrl", row["lifecycle"], "expirationDateTime", row["expires"], "creatorId", row["by"], "latestSupportedTlsVersion", "v1_2")
}

func (r *request) subscribe(ctx context.Context) (exchange.Answer, error) {
	var said struct {
		ChangeType string    `json:"changeType"`
		URL        string    `json:"notificationUrl"`
		Lifecycle  string    `json:"lifecycleNotificationUrl"`
		Resource   string    `json:"resource"`
		Expires    time.Time `json:"expirationDateTime"`
		State      string    `json:"clientState"`
	}
	if !r.body(&said) {
		return badRequest(r.c, "The body cannot be read."), nil
	}
	drive, rest, _ := strings.Cut(strings.TrimPrefix(strings.Trim(said.Resource, "/"), "drives/"), "/")
	library, err := byID(ctx, r.tx, drives, drive, false)
	if err != nil {
		return exchange.Answer{}, err
	}
	switch {
	case said.ChangeType != "updated":
		return badRequest(r.c, "The change type of a drive item is updated."), nil
	case library == nil || rest != "root":
		return badRequest(r.c, "Only the root folder of a drive can be subscribed to."), nil
	case len(said.State) > 128:
		return badRequest(r.c, "clientState is longer than 128 characters."), nil
	case !said.Expires.After(r.c.At) || said.Expires.After(r.c.At.Add(longest+time.Minute)):
		return badRequest(r.c, "Subscription expiration can only be 42300 minutes in the future."), nil
	}
	for _, to := range []string{said.URL, said.Lifecycle} {
		if to != "" && !r.asked(ctx, to) {
			return badRequest(r.c, "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request."), nil
		}
	}
	row := storage.Row{"id": guid("subscription", r.c.At.UnixNano(), said.URL), "drive": drive, "resource": said.Resource, "url": said.URL, "lifecycle": said.Lifecycle,
		"state": said.State, "expires": said.Expires.UTC().Truncate(1e6), "by": r.c.User.ClientID}
	if err := r.tx.Insert(ctx, subscriptions, row); err != nil {
		return exchange.Answer{}, fmt.Errorf("making a subscription: %w", err)
	}
	o := shown(row)
	return answer(http.StatusCreated, o), nil
}

// asked reports whether an endpoint gives a word back that it was sent.
func (r *request) asked(ctx context.Context, to string) bool {
	address, err := url.Parse(to)
	if err != nil || address.Scheme != "https" && address.Scheme != "http" || !r.allowed(address.Hostname()) {
		return false
	}
	word := "Validation: Testing client application reachability for subscription Request-Id: " + guid("word", r.c.At.UnixNano(), to)
	q := address.Query()
	q.Set("validationToken", word)
	address.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), nil)
	if err != nil {
		return false
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	status, kind, body := r.post(request)
	return status == http.StatusOK && strings.HasPrefix(kind, "text/plain") && body == word
}

// notify tells whoever subscribed to a library that it has changed.
func (r *request) notify(ctx context.Context, drive string) error {
	rows, err := r.tx.Find(ctx, subscriptions, storage.Query{Where: storage.And{storage.Compare{Column: "drive", Op: storage.Eq, Value: drive},
		storage.Compare{Column: "expires", Op: storage.Gt, Value: r.c.At}}})
	if err != nil {
		return fmt.Errorf("reading subscriptions: %w", err)
	}
	for _, row := range rows {
		if err := r.tell(ctx, row, row["url"], ordered.New("changeType", "updated", "resourceData", ordered.New("@odata.type", "#Microsoft.Graph.DriveItem"))); err != nil {
			return err
		}
	}
	return nil
}

// tell puts one notification beside its cause.
func (r *request) tell(ctx context.Context, row storage.Row, to any, about *ordered.Object) error {
	about.Set("subscriptionId", row["id"]).Set("subscriptionExpirationDateTime", row["expires"]).Set("clientState", row["state"]).
		Set("resource", row["resource"]).Set("tenantId", tenant)
	body, err := json.Marshal(ordered.New("value", []*ordered.Object{about}))
	if err != nil {
		return fmt.Errorf("writing a notification: %w", err)
	}
	number, err := storage.Version(ctx, r.tx)
	if err != nil {
		return fmt.Errorf("numbering a notification: %w", err)
	}
	job := storage.Row{"id": fmt.Sprintf("%020d", number), "url": to, "body": string(body), "made": r.c.At, "due": r.c.At, "tries": int64(0)}
	if err := r.tx.Insert(ctx, jobs, job); err != nil {
		return fmt.Errorf("noting a notification: %w", err)
	}
	r.stir()
	return nil
}

func (s *System) stir() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}
