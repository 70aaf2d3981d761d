package kafka

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Code is an error of the protocol, as brokers say it; 0 is none.
type Code int16

// The errors that somebody here asks for by name.
const (
	CorruptMessage                     Code = 2
	UnknownTopicOrPartition            Code = 3
	LeaderNotAvailable                 Code = 5
	NotLeaderForPartition              Code = 6
	RequestTimedOut                    Code = 7
	BrokerNotAvailable                 Code = 8
	ReplicaNotAvailable                Code = 9
	MessageTooLarge                    Code = 10
	NetworkException                   Code = 13
	CoordinatorLoadInProgress          Code = 14
	CoordinatorNotAvailable            Code = 15
	NotCoordinator                     Code = 16
	InvalidTopicException              Code = 17
	RecordListTooLarge                 Code = 18
	NotEnoughReplicas                  Code = 19
	NotEnoughReplicasAfterAppend       Code = 20
	InvalidRequiredAcks                Code = 21
	TopicAuthorizationFailed           Code = 29
	GroupAuthorizationFailed           Code = 30
	ClusterAuthorizationFailed         Code = 31
	InvalidTimestamp                   Code = 32
	UnsupportedSASLMechanism           Code = 33
	IllegalSASLState                   Code = 34
	UnsupportedVersion                 Code = 35
	InvalidRequest                     Code = 42
	UnsupportedForMessageFormat        Code = 43
	PolicyViolation                    Code = 44
	OutOfOrderSequenceNumber           Code = 45
	DuplicateSequenceNumber            Code = 46
	InvalidProducerEpoch               Code = 47
	InvalidProducerIDMapping           Code = 49
	TransactionalIDAuthorizationFailed Code = 53
	SecurityDisabled                   Code = 54
	KafkaStorageError                  Code = 56
	SASLAuthenticationFailed           Code = 58
	UnknownProducerID                  Code = 59
	DelegationTokenAuthDisabled        Code = 61
	DelegationTokenExpired             Code = 66
	FencedLeaderEpoch                  Code = 74
	UnknownLeaderEpoch                 Code = 75
	UnsupportedCompressionType         Code = 76
	InvalidRecord                      Code = 87
	ThrottlingQuotaExceeded            Code = 89
	ProducerFenced                     Code = 90
	UnknownTopicID                     Code = 100
)

// names are those of the protocol's table of errors: what stands in brokers' logs,
// and in what others have written about them.
var names = map[Code]string{
	-1:                                 "UNKNOWN_SERVER_ERROR",
	CorruptMessage:                     "CORRUPT_MESSAGE",
	UnknownTopicOrPartition:            "UNKNOWN_TOPIC_OR_PARTITION",
	LeaderNotAvailable:                 "LEADER_NOT_AVAILABLE",
	NotLeaderForPartition:              "NOT_LEADER_FOR_PARTITION",
	RequestTimedOut:                    "REQUEST_TIMED_OUT",
	BrokerNotAvailable:                 "BROKER_NOT_AVAILABLE",
	ReplicaNotAvailable:                "REPLICA_NOT_AVAILABLE",
	MessageTooLarge:                    "MESSAGE_TOO_LARGE",
	NetworkException:                   "NETWORK_EXCEPTION",
	CoordinatorLoadInProgress:          "COORDINATOR_LOAD_IN_PROGRESS",
	CoordinatorNotAvailable:            "COORDINATOR_NOT_AVAILABLE",
	NotCoordinator:                     "NOT_COORDINATOR",
	InvalidTopicException:              "INVALID_TOPIC_EXCEPTION",
	RecordListTooLarge:                 "RECORD_LIST_TOO_LARGE",
	NotEnoughReplicas:                  "NOT_ENOUGH_REPLICAS",
	NotEnoughReplicasAfterAppend:       "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
	InvalidRequiredAcks:                "INVALID_REQUIRED_ACKS",
	TopicAuthorizationFailed:           "TOPIC_AUTHORIZATION_FAILED",
	GroupAuthorizationFailed:           "GROUP_AUTHORIZATION_FAILED",
	ClusterAuthorizationFailed:         "CLUSTER_AUTHORIZATION_FAILED",
	InvalidTimestamp:                   "INVALID_TIMESTAMP",
	UnsupportedSASLMechanism:           "UNSUPPORTED_SASL_MECHANISM",
	IllegalSASLState:                   "ILLEGAL_SASL_STATE",
	UnsupportedVersion:                 "UNSUPPORTED_VERSION",
	InvalidRequest:                     "INVALID_REQUEST",
	UnsupportedForMessageFormat:        "UNSUPPORTED_FOR_MESSAGE_FORMAT",
	PolicyViolation:                    "POLICY_VIOLATION",
	OutOfOrderSequenceNumber:           "OUT_OF_ORDER_SEQUENCE_NUMBER",
	DuplicateSequenceNumber:            "DUPLICATE_SEQUENCE_NUMBER",
	InvalidProducerEpoch:               "INVALID_PRODUCER_EPOCH",
	InvalidProducerIDMapping:           "INVALID_PRODUCER_ID_MAPPING",
	TransactionalIDAuthorizationFailed: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
	SecurityDisabled:                   "SECURITY_DISABLED",
	KafkaStorageError:                  "KAFKA_STORAGE_ERROR",
	SASLAuthenticationFailed:           "SASL_AUTHENTICATION_FAILED",
	UnknownProducerID:                  "UNKNOWN_PRODUCER_ID",
	DelegationTokenAuthDisabled:        "DELEGATION_TOKEN_AUTH_DISABLED",
	DelegationTokenExpired:             "DELEGATION_TOKEN_EXPIRED",
	FencedLeaderEpoch:                  "FENCED_LEADER_EPOCH",
	UnknownLeaderEpoch:                 "UNKNOWN_LEADER_EPOCH",
	UnsupportedCompressionType:         "UNSUPPORTED_COMPRESSION_TYPE",
	InvalidRecord:                      "INVALID_RECORD",
	ThrottlingQuotaExceeded:            "THROTTLING_QUOTA_EXCEEDED",
	ProducerFenced:                     "PRODUCER_FENCED",
	UnknownTopicID:                     "UNKNOWN_TOPIC_ID",
}

// Error returns the code's name, or its number.
func (c Code) Error() string {
	if name := names[c]; name != "" {
		return name
	}
	return "Kafka's error " + strconv.Itoa(int(c))
}

// Err returns the code as an error, nil for none.
func (c Code) Err() error {
	if c == 0 {
		return nil
	}
	return c
}

// Refusal is a Code, with what the broker has said about it.
type Refusal struct {
	Code Code
	// Text is of the broker; it has no line breaks, and 200 letters at the most.
	Text string
}

// Error returns the code's name and what the broker has said.
func (r *Refusal) Error() string {
	if r.Text == "" {
		return r.Code.Error()
	}
	return fmt.Sprintf("%v: %s", r.Code, r.Text)
}

// Unwrap returns the code.
func (r *Refusal) Unwrap() error { return r.Code }

// maxText is how much of a broker's explanation is shown, in letters.
const maxText = 200

// refusal returns nil for the code that is none.
func refusal(c Code, text string) error {
	if c == 0 {
		return nil
	}
	shown := []rune(strings.ToValidUTF8(text[:min(len(text), 4*maxText)], "�"))
	shown = shown[:min(len(shown), maxText)]
	for i, r := range shown {
		if !unicode.IsPrint(r) {
			shown[i] = ' '
		}
	}
	return &Refusal{c, strings.TrimSpace(string(shown))}
}
