//go:build !nokafka

package kafkaout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
)

// configDelay is how long to wait after an answer that only a person can
// change: wrong password, missing topic.
const configDelay = time.Minute

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

// verdict is what an error of a broker means.
type verdict struct {
	class class
	hint  string
	// keep says that the session is in order: the broker has answered, and will
	// answer the next message, too. Others are given up, so that the library
	// does not go on asking.
	keep bool
}

const (
	hintTopic   = "create the topic, or correct its name; create_topics = true lets brokers create it that are set up to do so"
	hintSASL    = "check sasl, username and the password file, and which mechanisms the listener has"
	hintLeader  = "the partition is moving to another broker, or has none now"
	hintDisk    = "look after the broker's disk: it is full or failing"
	hintCluster = "the cluster is not ready; look after its brokers"
)

// verdicts is the one table of what Kafka may say to a producer, by the codes of
// its protocol. What is not in it is taken for passing.
func verdicts(code int16) verdict {
	switch code {
	case kerr.MessageTooLarge.Code, kerr.RecordListTooLarge.Code:
		return verdict{tooLarge, "the topic takes smaller messages only; raise max.message.bytes of the topic, or lower max_batch", true}
	case kerr.InvalidRecord.Code:
		return verdict{refused, "the broker does not accept this record: a check of its schema, or rules of its topic", true}
	case kerr.InvalidTimestamp.Code:
		return verdict{config, "the broker takes this gateway's clock for wrong; set one of them, or message.timestamp.*.max.ms of the topic", true}
	case kerr.UnsupportedCompressionType.Code:
		return verdict{config, "the brokers do not know this compression; choose another one", false}
	case kerr.UnsupportedForMessageFormat.Code, kerr.UnsupportedVersion.Code:
		return verdict{config, "the brokers, or the format of the topic, are older than Kafka 0.11", false}
	case kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code, kerr.InvalidTopicException.Code:
		return verdict{config, hintTopic, false}
	case kerr.TopicAuthorizationFailed.Code:
		return verdict{config, "let this user write to the topic: the operations Write and Describe", false}
	case kerr.ClusterAuthorizationFailed.Code:
		return verdict{config, "let this user produce idempotently: the operation IdempotentWrite on the cluster, or Kafka 3.0 and later", false}
	case kerr.TransactionalIDAuthorizationFailed.Code, kerr.GroupAuthorizationFailed.Code, kerr.DelegationTokenAuthDisabled.Code, kerr.DelegationTokenExpired.Code:
		return verdict{config, "let this user write to the topic", false}
	case kerr.SaslAuthenticationFailed.Code, kerr.UnsupportedSaslMechanism.Code, kerr.IllegalSaslState.Code, kerr.SecurityDisabled.Code:
		return verdict{config, hintSASL, false}
	case kerr.PolicyViolation.Code:
		return verdict{config, "a policy of the cluster is against it; ask who runs it", false}
	case kerr.InvalidRequiredAcks.Code, kerr.InvalidRequest.Code:
		return verdict{config, "the other side does not take an idempotent producer; is it Kafka?", false}
	case kerr.ThrottlingQuotaExceeded.Code:
		return verdict{quota, "the quota of this client is used up; the message will be sent again", true}
	case kerr.NotEnoughReplicas.Code, kerr.NotEnoughReplicasAfterAppend.Code:
		return verdict{transient, "fewer replicas are in sync than min.insync.replicas of the topic; look after the other brokers", true}
	case kerr.NotLeaderForPartition.Code, kerr.LeaderNotAvailable.Code, kerr.FencedLeaderEpoch.Code, kerr.UnknownLeaderEpoch.Code, kerr.ReplicaNotAvailable.Code:
		return verdict{transient, hintLeader, true}
	case kerr.KafkaStorageError.Code:
		return verdict{transient, hintDisk, true}
	case kerr.RequestTimedOut.Code:
		return verdict{transient, "the broker has not heard from its replicas in time", true}
	case kerr.BrokerNotAvailable.Code, kerr.NetworkException.Code, kerr.CoordinatorNotAvailable.Code, kerr.CoordinatorLoadInProgress.Code, kerr.NotCoordinator.Code:
		return verdict{transient, hintCluster, false}
	case kerr.CorruptMessage.Code:
		return verdict{transient, "the message was damaged on its way", true}
	}
	return verdict{transient, "the message will be sent again", false}
}

// judge turns an error of the library into the error of Send: Permanent,
// TooLarge, RetryAfter or transient. It is the only place that knows what an
// error means. Wrong credentials and missing topics are never held against the
// readings: they wait until somebody has corrected the configuration. throttle
// is the delay that a broker has asked for, or 0.
func judge(err error, throttle time.Duration) (judged error, keep bool) {
	code, ok := errors.AsType[*kerr.Error](err)
	if !ok {
		return judgeLocal(err), false
	}
	v := verdicts(code.Code)
	said := fmt.Errorf("%w — hint: %s", err, v.hint)
	switch v.class {
	case tooLarge:
		return uplink.TooLarge(said), v.keep
	case refused:
		return uplink.Permanent(said), v.keep
	case config:
		return uplink.RetryAfter(said, configDelay), v.keep
	case quota:
		throttle = max(throttle, 0)
		if throttle == 0 {
			throttle = quotaDelay
		}
	}
	if throttle > 0 {
		return uplink.RetryAfter(said, throttle), v.keep
	}
	return said, v.keep
}

// judgeLocal is for errors that are not of a broker.
func judgeLocal(err error) error {
	first, ok := errors.AsType[*kgo.ErrFirstReadEOF](err)
	switch {
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errHungUp):
		return uplink.RetryAfter(fmt.Errorf("%w — hint: %s", err, hintSASL), configDelay)
	case ok:
		return fmt.Errorf("%w — hint: is tls right for this port of the broker, and does its listener want sasl?", first)
	}
	if explained := netfault.Explain(err); strings.Contains(explained.Error(), "hint: ") {
		return explained
	}
	return fmt.Errorf("%w — hint: that is not how Kafka answers; check host and port of the broker", err)
}

// moved says that another broker has the partition now, and that the library
// should ask which.
func moved(err error) bool {
	code, ok := errors.AsType[*kerr.Error](err)
	return ok && verdicts(code.Code).hint == hintLeader
}

// advertised explains what happens to everybody once: the first connection was
// made, and brokers then named addresses that this machine does not reach.
func advertised(b kgo.BrokerMetadata, err error) error {
	return fmt.Errorf("%w — hint: the cluster names this address for broker %d; if it is not reached from here, correct advertised.listeners of that broker", err, b.NodeID)
}
