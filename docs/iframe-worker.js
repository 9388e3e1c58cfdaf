/* A page opened from a disk may start no Worker: the search of the site then runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.documentElement.appendChild(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = (data) => this.onmessage && this.onmessage({ data })
      const script = inside.document.createElement("script")
      this.ready = new Promise((done) => (script.onload = done))
      script.src = url
      inside.document.documentElement.appendChild(script)
    }
    postMessage(data) {
      const inside = this.frame.contentWindow
      this.ready.then(() => inside.dispatchEvent(new inside.MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
