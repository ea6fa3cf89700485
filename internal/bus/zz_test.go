package bus_test
import ("testing";"time";"fmt";"os";"math/rand/v2";"github.com/pulsestream/pulsestream/internal/bus")
func TestZZStall(t *testing.T){
	dice := rand.New(rand.NewPCG(11, 1))
	var sizes []int
	for range 400 {
		sizes = append(sizes, 30+dice.IntN(300)+dice.IntN(2)*dice.IntN(3000)+dice.IntN(20)/19*800_000)
	}
	w := write(t, 1, 12, sizes...)
	if os.Getenv("HOLE")!="" {
	flip(t, w.block(0,1), 4_000_000, 3)
	f,_:=os.OpenFile(w.block(0,1),os.O_RDWR,0); f.WriteAt(make([]byte,8192),3_000_000); f.WriteAt(make([]byte,8192),8_100_000); f.Close()
	}
	b:=w.open(t,bus.Config{Log:logTo(t)})
	fmt.Println(len(b.Losses()))
	for i:=range 30 {
		r,err:=b.Read(t.Context(),0,0); if err!=nil {t.Fatal(err)}
		last:=time.Now(); prev:=uint64(0)
		for prev<400 { m:=<-r.Messages(); if d:=time.Since(last); d>time.Second {fmt.Println("round",i,"stall",d,"before",m.Seq,"prev",prev,len(m.Payload),m.Err)}; last=time.Now(); prev=m.Seq }
		r.Close()
	}
}
