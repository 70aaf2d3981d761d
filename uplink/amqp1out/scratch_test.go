package amqp1out
import ("testing";"context";"time";"fmt";"strings"; amqp "github.com/Azure/go-amqp")
func TestScratch(t *testing.T) {
 try := func(name, user, pass, host, target string, size int, mid string) {
  ctx,cancel:=context.WithTimeout(context.Background(),4*time.Second); defer cancel()
  var st amqp.SASLType = amqp.SASLTypePlain(user,pass)
  if user=="" { st=amqp.SASLTypeAnonymous() }
  c,err:=amqp.Dial(ctx,"amqp://127.0.0.1:25672",&amqp.ConnOptions{SASLType:st, HostName:host})
  if err!=nil { fmt.Printf("%s DIAL %T %v\n",name,err,err); return }
  defer c.Close()
  fmt.Println(name, c.Properties())
  s,err:=c.NewSession(ctx,nil)
  if err!=nil { fmt.Printf("%s SESSION %T %v\n",name,err,err); return }
  snd,err:=s.NewSender(ctx,target,&amqp.SenderOptions{TargetDurability: amqp.DurabilityUnsettledState, SettlementMode: amqp.SenderSettleModeUnsettled.Ptr()})
  if err!=nil { fmt.Printf("%s SENDER %T %v\n",name,err,err); return }
  fmt.Println(name,"max",snd.MaxMessageSize(), snd.Properties())
  ct:="application/json"; subj:="a.b"
  m:=amqp.NewMessage([]byte(strings.Repeat("x",size))); m.Header=&amqp.MessageHeader{Durable:true}; m.Properties=&amqp.MessageProperties{MessageID:mid,ContentType:&ct,Subject:&subj}
  m.ApplicationProperties=map[string]any{"gateway":"g","count":int32(5)}
  r,err:=snd.SendWithReceipt(ctx,m,nil)
  if err!=nil { fmt.Printf("%s SEND %T %v\n",name,err,err); return }
  b:=time.Now()
  st2,err:=r.Wait(ctx)
  fmt.Printf("%s STATE %T %+v %T %v %v\n",name,st2,st2,err,err,time.Since(b))
 }
 try("ok","guest","guest","127.0.0.1","/amq/queue/t1",100,"id")
 try("okhost","guest","guest","vhost:/","/amq/queue/t1",100,"id")
 try("longid","guest","guest","vhost:/","/amq/queue/t1",100,strings.Repeat("i",300))
 try("badvhost","guest","guest","vhost:nope","/amq/queue/t1",100,"id")
 try("badpw","guest","x","127.0.0.1","/amq/queue/t1",100,"id")
 try("anon","","","127.0.0.1","/amq/queue/t1",100,"id")
 try("noq","guest","guest","127.0.0.1","/amq/queue/nope1",100,"id")
 try("bare","guest","guest","127.0.0.1","t1",100,"id")
 try("queue/","guest","guest","127.0.0.1","/queue/t1",100,"id")
 try("ex subject","guest","guest","127.0.0.1","/exchange/tele",100,"id")
 try("ex unroutable","guest","guest","127.0.0.1","/exchange/amq.topic",100,"id")
 try("ex key","guest","guest","127.0.0.1","/exchange/tele/x.y",100,"id")
 try("noex","guest","guest","127.0.0.1","/exchange/nope",100,"id")
 try("topic","guest","guest","127.0.0.1","/topic/x",100,"id")
 try("weak","weak","weak","127.0.0.1","/exchange/tele",100,"id")
 try("full","guest","guest","127.0.0.1","/amq/queue/full",100,"id")
 try("big","guest","guest","127.0.0.1","/amq/queue/t1",200000,"id")
}
