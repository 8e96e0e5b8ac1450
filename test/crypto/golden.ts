/** A bundle made by the first version of the format, and what opens it. Test keys: they guard nothing. Never changed. */
export const goldenBundle =
  '{"version":1,"keyringSealed":"hmnputCRyyXR/PXpjcQ/WtGHozFhyWScWSWO0rRDe6q42/vpS8aeMBjXKMm98wl7lQMboxjc2Hf/mRnVdOLaK83IaaLctKAjip19oEONrOC2RZbJfF6MlFKZ9+E7ohX9kQDtTHgDITLjEgCesbc+DzEHRXOcn07U9dQk+NDhvPfUkWMu4mggqWNe31MCck3q7Hyz3KzyGQ==","newest":2,"slots":[{"id":1,"kind":"node","label":"golden node","createdAt":"2025-11-23T00:00:00Z","publicKey":"uLDMzz/TrcwYcCfxv6rr+pyoNF77BR+9nSOOdQNX+is=","sealed":"jk/gDjpq9DctUtQg5O6l5vjmWHq51pKylWNukTGM62m3St8MATS7zpHI8/nl4hp7mQ7Wf56U2rSv3IcmhSe5Iaql8zAlJe11yRbJ70fQRU0="},{"id":2,"kind":"passphrase","label":"words","publicKey":"nvk05tK8ImYFi7Ob9Xw5SWXhpUHRv5wO5pjmGHvN9i0=","sealed":"n3x/LF9RDdbHycEqS443bjI8Qc416VI4PFxUfLZoNlY2HHiYQ9CW6ekcMjmb5JzM6t4tpkxzFCZUpanZdljdXyydSAKXMYwiMkgv8B6J2vY=","salt":"S0E+05O4egcT4iDBm+4NdA==","opsLimit":1,"memLimitBytes":8192,"createdAt":"2025-11-23T00:00:00Z"},{"id":3,"kind":"shares","label":"board","publicKey":"Je+yH2mWM+BOaImLVZtaUJNnSVTolBVcrxOeDRFZqBE=","sealed":"RH9uZRI5Gp/67i+v4Jvscn/9Mi/ig6Skq583aGA3QAjk44w/wX0DNIx3ELfm25Mte44XSvn+ZlU6zWxJO6Hun78HX1iAQDKOtROWxEPLlf0=","shares":3,"threshold":2,"createdAt":"2025-11-23T00:00:00Z"}],"nextSlot":4}'

export const goldenNode = {
  publicKey: 'b8b0cccf3fd3adcc187027f1bfaaebfa9ca8345efb051fbd9d238e750357fa2b',
  secretKey: 'f9c102ed47b9bd4071c8a0d90c62104a5d93811a9f677a77ae40062441567c9e',
  nameKey: '77d592ef5f26f24a1ecde5544bb8fc64',
  chunkKey1: 'e149feba6358fa33220d19eff5a15a648a93cc4f07d9a17ecf14754204c64d2f',
} as const

export const goldenPassphrase = 'golden words'

export const goldenShares = [
  'weft-share-1:01234567:3:2:-ZVeBuuusPrjRfyuwjj5YwTX41_ZD3txMQirMsBNvD7v:ae2e9843',
  'weft-share-1:01234567:3:2:s_fb0W0OFGhnqxv34abfJO0G9KI7zRKk175ZaQ-8qkKq:7ff32201',
] as const
