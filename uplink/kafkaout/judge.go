//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/kafka"
	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// quotaDelay is how long to wait for a quota when the broker did not say.
const quotaDelay = 5 * time.Second

// class is what becomes of a message.
type class int

const (
	transient class = iota
	config          // wait for a person
	quota           // wait as long as the broker says
	refused         // these bytes will never be taken
	tooLarge
)

// remedy is what a Send tries by itself, before the error becomes the Forwarder's
// business.
type remedy int

const (
	none   remedy = iota
	repeat        // the broker has the batch, but not all replicas: the same once more, with its number
	renew         // the broker does not know our number: once more under a new one
	follow        // somebody else has the partition: ask who
)

// verdict is what an error of a broker means.
type verdict struct {
	class  class
	hint   string
	remedy remedy
}

const (
	hintTopic   = "create the topic, or correct its name; create_topics = true lets brokers create it that are set up to do so"
	hintSASL    = "check sasl, username and the password file, and which mechanisms the listener has"
	hintLeader  = "the partition is moving to another broker, or has none now"
	hintDisk    = "look after the broker's disk: it is full or failing"
	hintCluster = "the cluster is not ready; look after its brokers"
	hintFewer   = "fewer replicas are in sync than min.insync.replicas of the topic; look after the other brokers"
	hintAgain   = "the message will be sent again"
)

// verdicts is the one table of what Kafka may say to a producer, by the codes of
// its protocol. What is not in it is taken for passing.
func verdicts(code kafka.Code) verdict {
	switch code {
	case kafka.MessageTooLarge, kafka.RecordListTooLarge:
		return verdict{tooLarge, "the topic takes smaller messages only; raise max.message.bytes of the topic, or lower max_batch", none}
	case kafka.InvalidRecord:
		return verdict{refused, "the broker does not accept this record: a check of its schema, or rules of its topic", none}
	case kafka.InvalidTimestamp:
		return verdict{config, "the broker takes this gateway's clock for wrong; set one of them, or message.timestamp.*.max.ms of the topic", none}
	case kafka.UnsupportedCompressionType:
		return verdict{config, "the brokers do not know this compression; choose another one", none}
	case kafka.UnsupportedForMessageFormat, kafka.UnsupportedVersion:
		return verdict{config, "the brokers, or the format of the topic, are older than Kafka 0.11, or 1.0 with sasl", none}
	case kafka.UnknownTopicOrPartition, kafka.UnknownTopicID:
		return verdict{config, hintTopic, follow}
	case kafka.InvalidTopicException:
		return verdict{config, hintTopic, none}
	case kafka.TopicAuthorizationFailed:
		return verdict{config, "let this user write to the topic: the operations Write and Describe", none}
	case kafka.ClusterAuthorizationFailed:
		return verdict{config, "let this user produce idempotently: the operation IdempotentWrite on the cluster, or Kafka 3.0 and later", none}
	case kafka.TransactionalIDAuthorizationFailed, kafka.GroupAuthorizationFailed, kafka.DelegationTokenAuthDisabled, kafka.DelegationTokenExpired:
		return verdict{config, "let this user write to the topic", none}
	case kafka.SASLAuthenticationFailed, kafka.UnsupportedSASLMechanism, kafka.IllegalSASLState, kafka.SecurityDisabled:
		return verdict{config, hintSASL, none}
	case kafka.PolicyViolation:
		return verdict{config, "a policy of the cluster is against it; ask who runs it", none}
	case kafka.InvalidRequiredAcks, kafka.InvalidRequest:
		return verdict{config, "the other side does not take an idempotent producer; is it Kafka?", none}
	case kafka.ThrottlingQuotaExceeded:
		return verdict{quota, "the quota of this client is used up; the message will be sent again", none}
	case kafka.NotEnoughReplicas:
		return verdict{transient, hintFewer, none}
	case kafka.NotEnoughReplicasAfterAppend:
		return verdict{transient, hintFewer, repeat}
	case kafka.RequestTimedOut:
		return verdict{transient, "the broker has not heard from its replicas in time", repeat}
	case kafka.NotLeaderForPartition, kafka.LeaderNotAvailable, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.ReplicaNotAvailable:
		return verdict{transient, hintLeader, follow}
	case kafka.KafkaStorageError:
		return verdict{transient, hintDisk, follow}
	case kafka.OutOfOrderSequenceNumber, kafka.UnknownProducerID, kafka.InvalidProducerEpoch, kafka.InvalidProducerIDMapping, kafka.ProducerFenced, kafka.DuplicateSequenceNumber:
		return verdict{transient, hintAgain, renew}
	case kafka.BrokerNotAvailable, kafka.NetworkException, kafka.CoordinatorNotAvailable, kafka.CoordinatorLoadInProgress, kafka.NotCoordinator:
		return verdict{transient, hintCluster, none}
	case kafka.CorruptMessage:
		return verdict{transient, "the message was damaged on its way", none}
	}
	return verdict{transient, hintAgain, none}
}

// judge turns an error into the error of Send: Permanent, TooLarge, RetryAfter or
// transient. It is the only place that knows what an error means. Wrong
// credentials and missing topics are never held against the readings: they wait
// until somebody has corrected the configuration. throttle is the delay that a
// broker has asked for, or 0.
func judge(err error, throttle time.Duration) error {
	var code kafka.Code
	ok := errors.As(err, &code)
	if !ok {
		return judgeLocal(err)
	}
	v := verdicts(code)
	said := fmt.Errorf("%w — hint: %s", err, v.hint)
	switch v.class {
	case tooLarge:
		return uplink.TooLarge(said)
	case refused:
		return uplink.Permanent(said)
	case config:
		return uplink.Misconfigured(said)
	case quota:
		if throttle <= 0 {
			throttle = quotaDelay
		}
	}
	if throttle > 0 {
		return uplink.RetryAfter(said, throttle)
	}
	return said
}

// remedyFor returns what a Send tries by itself.
func remedyFor(err error) remedy {
	var code kafka.Code
	if errors.As(err, &code) {
		return verdicts(code).remedy
	}
	return none
}

// Why a connection or a Send ends without a broker's word.
var (
	errClosed  = errors.New("the uplink is closed")
	errRetired = errors.New("the connection is not needed any more")
	// errHungUp is how brokers before Kafka 1.0, and some others, refuse a login.
	errHungUp = errors.New("the broker closed the connection during the login")
	// errNoWord is how TLS is refused by those who do not expect it, and the other
	// way round; and how a login is asked for.
	errNoWord = errors.New("the broker closed the connection without a word")
)

// judgeLocal is for errors that are not of a broker.
func judgeLocal(err error) error {
	switch {
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errHungUp):
		return uplink.Misconfigured(fmt.Errorf("%w — hint: %s", err, hintSASL))
	case errors.Is(err, errNoWord):
		return fmt.Errorf("%w — hint: is tls right for this port of the broker, and does its listener want sasl?", err)
	case errors.Is(err, kafka.ErrAnswer):
		return fmt.Errorf("%w — hint: check host and port of the broker, and is tls right for it?", err)
	}
	if explained := netfault.Explain(err); strings.Contains(explained.Error(), "hint: ") {
		return explained
	}
	return fmt.Errorf("%w — hint: %s", err, hintAgain)
}

// silence says what is known when nothing was heard in time. last is what was
// said before, or nil.
func silence(ctx context.Context, last error) error {
	err := context.Cause(ctx)
	if errors.Is(err, errClosed) {
		return err
	}
	if last != nil {
		err = fmt.Errorf("%w, after %v", err, last)
	}
	return fmt.Errorf("%w — hint: no acknowledgement in time; the link is slow or dead, or the topic has fewer replicas in sync than min.insync.replicas", err)
}

// advertised explains what happens to everybody once: the first connection was
// made, and brokers then named addresses that this machine does not reach.
func advertised(err error) error {
	if strings.Contains(err.Error(), "hint: ") {
		return err
	}
	return fmt.Errorf("%w — hint: the cluster names this address; if it is not reached from here, correct advertised.listeners of that broker", err)
}

// rankOf orders errors: what is refused for good must be bisected before
// anything else can be said about the rest.
func rankOf(err error) int {
	_, asked := uplink.RetryDelay(err)
	switch {
	case uplink.IsTooLarge(err):
		return 4
	case uplink.IsPermanent(err):
		return 3
	case asked:
		return 2
	}
	return 1
}
