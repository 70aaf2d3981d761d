package servertest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const activeHome = "/usr/share/activemq"

// ActiveMQ starts ActiveMQ 5 ("classic") with STOMP, which is all that Debian's
// can speak besides its own protocol. It takes about three seconds: see Shared.
// Fill starts it again with less space than it uses: producers wait for ever.
func ActiveMQ(t testing.TB, opts ...Option) *Server {
	t.Helper()
	return begin(t, kind{
		name: "ActiveMQ", pack: "activemq", programs: []string{activeHome + "/bin/activemq.jar", "java"}, slow: true,
		plan: planActiveMQ, fill: refilled,
	}, opts)
}

// refilled is for servers whose limits are read when they start. They are asked to
// end: one that forgets would have more room than it should.
func refilled(e *engine, _ bool) error {
	return errors.Join(e.stop(), e.configure(nil), e.start())
}

const activeXML = `<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans.xsd http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
<broker xmlns="http://activemq.apache.org/schema/core" brokerName="localhost" dataDirectory="%[1]s" useJmx="false" persistent="%[2]v" advisorySupport="false">
%[3]s
<persistenceAdapter><kahaDB directory="%[1]s/kahadb" journalMaxFileLength="4mb"/></persistenceAdapter>
%[4]s
<systemUsage><systemUsage>
  <memoryUsage><memoryUsage limit="64 mb"/></memoryUsage>
  <storeUsage><storeUsage limit="%[5]s"/></storeUsage>
  <tempUsage><tempUsage limit="64 mb"/></tempUsage>
</systemUsage></systemUsage>
<transportConnectors>%[6]s</transportConnectors>
</broker></beans>
`

const activeLog = `rootLogger.level=WARN
rootLogger.appenderRef.console.ref=Console
appender.console.type=Console
appender.console.name=Console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} - %m%n%throwable{3}
`

func planActiveMQ(e *engine) (plan, error) {
	stomp, err := e.address("stomp")
	if err != nil {
		return plan{}, err
	}
	limit, query := "1 gb", ""
	if e.full {
		limit = "1 kb"
	}
	if e.options.maxMessage > 0 {
		query = fmt.Sprintf("?wireFormat.maxDataLength=%d", e.options.maxMessage)
	}
	p := plan{ready: map[string]greet{"stomp": greetSTOMP()}}
	connectors := fmt.Sprintf("<transportConnector name=%q uri=%q/>", "stomp", "stomp://"+stomp+query)
	var access string
	if o := e.options; o.user != "" {
		access = fmt.Sprintf(`<plugins><simpleAuthenticationPlugin anonymousAccessAllowed="false"><users>`+
			`<authenticationUser username="%s" password="%s" groups="users"/></users></simpleAuthenticationPlugin></plugins>`,
			escaped(o.user), escaped(o.password))
	}
	if e.options.authority != nil {
		secure, err := e.address("stomp+ssl")
		if err != nil {
			return plan{}, err
		}
		store, err := keyStore(e)
		if err != nil {
			return plan{}, err
		}
		access += fmt.Sprintf(`<sslContext><sslContext keyStore="file:%s" keyStoreType="PKCS12" keyStorePassword=%q/></sslContext>`, store, storePassword)
		connectors += fmt.Sprintf("<transportConnector name=%q uri=%q/>", "stomp+ssl", "stomp+ssl://"+secure+query)
		p.ready["stomp+ssl"] = overTLS(greetSTOMP())
	}
	config, err := e.write("activemq.xml", fmt.Sprintf(activeXML,
		e.dir, !e.options.volatile, strings.Join(e.options.lines, "\n"), access, limit, connectors))
	if err != nil {
		return plan{}, err
	}
	log, err := e.write("log4j2.properties", activeLog)
	if err != nil {
		return plan{}, err
	}
	p.argv = []string{"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dlog4j2.configurationFile=" + log, "-Djava.io.tmpdir=" + e.dir,
		"-Dactivemq.home=" + activeHome, "-Dactivemq.base=" + e.dir, "-Dactivemq.conf=" + e.dir, "-Dactivemq.data=" + e.dir,
		"-jar", activeHome + "/bin/activemq.jar", "start", "xbean:file:" + config}
	return p, nil
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}

const storePassword = "changeit"

// keyStore packs the certificate as Java wants it.
func keyStore(e *engine) (string, error) {
	path := filepath.Join(e.dir, "server.p12")
	out, err := exec.Command("openssl", "pkcs12", "-export", "-in", e.options.pair.Cert, "-inkey", e.options.pair.Key,
		"-out", path, "-passout", "pass:"+storePassword).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%w — hint: apt-get install openssl", err)
	}
	if err != nil {
		return "", fmt.Errorf("pack the certificate: %w: %s", err, out)
	}
	return path, nil
}
