"""What is worn on the body."""

TOPS = """
top: upper wear; topwear; upper body; tops and tees; tops and t-shirts; shirts and tops
tshirt < top: t-shirts; tees; tee shirts; graphic tees; printed t-shirts; long sleeve t-shirts; crew tees; lounge
    t-shirts; sports t-shirts; t-shirts and polos; tshirts and vests; baby tees; raglan tees
polo < tshirt: polos; polo shirts; polo t-shirts; golf shirts; rugby shirts; piques
tank_top < top: tanks; vest tops; vests; sleeveless tops; muscle tees; singlets; sleeveless t-shirts; racerbacks
crop_top < top: cropped tops; cropped tees; bandeau tops; tube tops
camisole < top: camis; cami tops; camisoles and slips; spaghetti tops
bodysuit < top: body tops; bodies; leotards; teddies
shirt < top: shirts; casual shirts; formal shirts; dress shirts; oxford shirts; denim shirts; linen shirts; flannel
    shirts; overshirts; button-downs; button-up shirts; business shirts; hawaiian shirts
blouse < top: blouses; shirts and blouses; blouses and shirts; tops and blouses
tunic < top: tunics; tunic tops; kaftan tops; longline tops
kurta < top: kurtas; ethnic kurtas; nehru kurtas; pathani kurtas; anarkali kurtas
kurti < kurta: kurtis; short kurtas; ethnic tops
choli < top: cholis; saree blouses; sari blouses
sherwani < top: sherwanis; achkans; bandhgalas
knitwear < top: knits; knitted tops; woollens; jumpers and cardigans; knits and sweaters
sweater < knitwear: sweaters; jumpers; pullovers; knitted jumpers; turtlenecks; roll necks; sweater vests; sweaters
    and cardigans; tank jumpers; slipovers
cardigan < knitwear: cardigans; cardis; twinsets
shrug < top: shrugs; boleros; wraps and shrugs
sweatshirt < top: sweatshirts; sweats; fleeces; fleece tops; quarter zips; sweatshirts and hoodies; track tops;
    hoodies and sweatshirts
hoodie < sweatshirt: hoodies; hooded sweatshirts; hooded tops; zip hoodies
base_layer < top: base layers; thermal tops; rash guards; rash vests; compression tops
jersey < top: jerseys; football shirts; sports jerseys; cycling jerseys
nightshirt < top: night shirts; pyjama tops; pajama tops; sleep shirts
outerwear < top: outer wear; coats and jackets; jackets and coats; jackets, coats
jacket < outerwear: jackets; bomber jackets; denim jackets; leather jackets; biker jackets; rain jackets;
    windcheaters; puffer jackets; puffers; down jackets; quilted jackets; windbreakers; shackets; anoraks; sports
    jackets; track jackets; varsity jackets; nehru jackets; gilets; body warmers
blazer < outerwear: blazers; sport coats; suit jackets; tuxedo jackets; dinner jackets
coat < outerwear: coats; overcoats; trench coats; parkas; pea coats; raincoats; duffle coats; wool coats; macs
poncho < outerwear: ponchos; capes; cloaks
kimono < outerwear: kimonos; dusters; cover-ups; beach cover-ups
waistcoat < outerwear: waistcoats; suit vests; formal vests
"""

DRESSES = """
dress: dresses; frocks; gowns; maxi dresses; midi dresses; mini dresses; evening gowns; sundresses; shirt dresses;
    t-shirt dresses; wrap dresses; bodycon dresses; knitted dresses; party dresses; cocktail dresses; casual
    dresses; day dresses; evening dresses; wedding dresses; kaftans; ethnic dresses; anarkalis; abayas; pinafores;
    pinafore dresses; jumper dresses; tea dresses
nightdress < dress: nightdresses; nighties; night gowns; negligees; chemises; slip dresses
"""

BOTTOMS = """
bottom: bottoms; bottomwear; bottom wear; lower wear; lower body
trousers < bottom: pants; chinos; slacks; khakis; formal trousers; casual trousers; dress pants; suit trousers;
    cargos; cargo pants; cargo trousers; corduroys; palazzos; palazzo pants; culottes; wide leg pants; trousers and
    pants; pants and trousers; trousers and chinos; dungaree trousers; harem pants
jeans < trousers: denims; denim jeans; denim pants; skinny jeans; straight jeans; slim jeans; jeans and denims;
    bootcut jeans; mom jeans; boyfriend jeans; wide leg jeans; flared jeans; denim trousers; jeggings
track_pants < trousers: track bottoms; joggers; jogging bottoms; jogging pants; sweatpants; sweat pants; tracksuit
    bottoms; training pants; running pants; yoga pants; sports pants; track suit pants
lounge_pants < trousers: lounge bottoms; lounge trousers; pyjamas; pajamas; pyjama bottoms; pajama pants; pyjama
    pants; sleep pants; sleep bottoms; night pants
capris < trousers: capri pants; cropped trousers; cropped pants; three quarter pants; pedal pushers
leggings < bottom: legging; sports leggings; gym leggings; treggings; running tights; sports tights; yoga leggings
churidar < bottom: churidars; churidar leggings
salwar < bottom: salwars; shalwars; patialas; patiala pants; dhotis; dhoti pants
shorts < bottom: bermudas; bermuda shorts; denim shorts; chino shorts; cargo shorts; sports shorts; board shorts;
    lounge shorts; running shorts; cycling shorts; hot pants; pyjama shorts; skorts
skirt < bottom: skirts; mini skirts; midi skirts; maxi skirts; denim skirts; pencil skirts; pleated skirts; kilts
lehenga < skirt: lehengas; ghagras; lehenga cholis
dungarees < bottom: bib overalls; overalls; bibs
ski_pants < bottom: snow pants; salopettes; rain trousers; rain pants
"""

#: Several pieces, or one that covers all of the body. What covers the upper body too is asked what tops are.
SETS = """
set < top: sets; co-ords; coords; co-ord sets; clothing sets; two-piece sets; matching sets
tracksuit < set: tracksuits; track suits; sweatsuits; jogging suits
suit < set: suits; two-piece suits; three-piece suits; business suits; tuxedos; trouser suits
kurta_set < set: kurta sets; salwar suits; salwar and dupatta; salwar kameez; churidar kurta; kurta pyjamas; ethnic
    sets; salwar kurta dupatta
night_suit < set: night suits; pyjama sets; pajama sets; nightwear sets; loungewear sets
nightwear: night wear; sleepwear; loungewear; nightwear and loungewear
robe < nightwear: robes; bath robes; dressing gowns
jumpsuit < top: jumpsuits; playsuits; rompers; romper suits; catsuits; onesies; boiler suits; all-in-ones
babygrow < top: babygrows; baby suits; sleepsuits; baby bodysuits; baby rompers
saree: sarees; saris
swimwear: swim wear; beachwear; swimsuits; bikinis; bikini tops; bikini bottoms; tankinis; swim shorts; swim trunks;
    swimming costumes; bathing suits; one-piece swimsuits; swim briefs
costume: costumes; fancy dress; fancy dress costumes
"""

UNDERWEAR = """
underwear: inner wear; innerwear; underclothes; undergarments; lingerie; intimates
undershirt < underwear, top: innerwear vests; under vests; undershirts; thermal vests; inner vests
bra < underwear: bras; brassieres; bralettes; sports bras; bustiers; nursing bras
briefs < underwear: brief; knickers; panties; underpants; thongs; hipster briefs; g-strings
boxers < underwear: boxer shorts; boxer briefs; trunks; boxer trunks
lingerie_set < underwear: lingerie sets; bra sets; bra and panty sets; underwear sets
shapewear < underwear: shape wear; corsets; girdles; body shapers
slip < underwear: slips; petticoats; underskirts
thermals < underwear: thermal underwear; long johns; thermal bottoms; thermal sets
hosiery: socks and tights; hosieries; legwear
socks < hosiery: ankle socks; sports socks; crew socks; knee socks; trainer socks; no-show socks
stockings < hosiery: hold-ups; pop socks; knee highs
tights < hosiery: pantyhose; panty hose; opaque tights
leg_warmers < hosiery: leg warmer; gaiters
"""
